"""What computes: the processor or an accelerator, by torch's name for it, tried before anything is trusted to it.

The code of the factors is the same on all of them; it needs double precision for its sums, which Apple's "mps" has not.
Next module: `training.half_sweep`.
"""

from __future__ import annotations

from typing import Final

import torch

from training.errors import ConfigurationError

CPU: Final = torch.device("cpu")


def usable(name: str) -> torch.device:
    """The device `name` ("cpu", "cuda", "cuda:1"). `ConfigurationError` says why it cannot be used, and what to do."""
    try:
        device = torch.device(name)
        # "meta" takes everything and holds nothing: only a number that comes back is proof.
        proof = torch.full((1,), 0.5, dtype=torch.float64, device=device).item()
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ConfigurationError(
            f"device {name!r} cannot be used: {reason}. Take cpu (--device, UNDERSTUDY_TORCH_DEVICE, [machine] in the "
            "configuration), or install a torch that was built for it."
        ) from error
    assert proof == 0.5
    return device
