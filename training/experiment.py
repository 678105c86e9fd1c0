"""An experiment is a file: name, model settings and export settings in TOML. What is not known is refused by its name.

Next module: `training.export`, which turns a fitted model into a bundle.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from training.content import ContentSettings
from training.errors import ConfigurationError
from training.ials import IalsSettings
from training.settings import MachineSettings


class ExportSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of a fitted model goes into the bundle."""

    min_history: Annotated[int, Meta(ge=0)] = 1
    """Users with fewer positives than this get no vector (they are served by the fallback chain)."""


class Experiment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model to train: `name` is the bundle's, `about` says in words what is tried."""

    name: Annotated[str, Meta(pattern="^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")]
    """Small letters, digits, dots, dashes: it is in the tag of the bento."""
    about: str
    ials: IalsSettings
    content: ContentSettings | None = None
    """With it the model is a hybrid of factors and content; without it factors alone."""
    export: ExportSettings = ExportSettings()
    machine: MachineSettings = MachineSettings()
    """Where it is fitted; the environment and flags go before it."""

    @property
    def digest(self) -> str:
        """First 12 hex digits of the SHA-256 over all but the machine in canonical form: equal settings, equal one."""
        settings = msgspec.to_builtins(msgspec.structs.replace(self, ials=self.ials.canonical))
        del settings["machine"]
        return hashlib.sha256(msgspec.json.encode(settings, order="sorted")).hexdigest()[:12]

    @property
    def model_digest(self) -> str:
        """The same over what makes the model alone: another name, description or export is no other model, nor is a
        default that is written out.
        """
        model = (self.ials.canonical, self.content)
        return hashlib.sha256(msgspec.json.encode(model, order="sorted")).hexdigest()[:12]


def read_experiment(path: Path) -> Experiment:
    """The experiment in `path`. `ConfigurationError` names file and key."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Experiment)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
