"""CI's machine, where it can install Docker, kind, Helm and the like: no test is skipped there for want of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

TOOLS: Final = Path(__file__).parents[2] / "shared" / "cluster" / "install"
"""What it installs them with (.ci/run)."""


def provides() -> bool:
    """Whether this is CI on such a machine."""
    return TOOLS.exists() and os.environ.get("CI") == "true"
