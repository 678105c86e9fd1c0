"""The weights of the ranking, typed and bounded: from a file, or from variables of the environment.

`understudy serve --ranking FILE` hands a file's values to the server as variables, so a container needs no file; a
variable that is set already wins over the file. Without any, lists are in the order of relevance alone. Next module:
`bentos.ranking`, which goes by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

PREFIX: Final = "UNDERSTUDY_RANKING_"


class RankingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a list is made of besides relevance, which counts 1 for the best candidate and 0 for the last.

    The variable of a field is `UNDERSTUDY_RANKING_` and its name in capitals.
    """

    candidates: Annotated[int, Meta(ge=1, le=1_000)] = 200
    """How many items, by relevance, the list is chosen from."""

    diversity: Annotated[float, Meta(ge=0, le=10)] = 0.0
    """What an item loses for being like one above it: this times the Jaccard similarity of their genres (MMR)."""

    recency: Annotated[float, Meta(ge=0, le=10)] = 0.0
    """What an item gains for being new: this times 2^(−age ÷ half-life)."""

    recency_of: Literal["release", "interaction"] = "release"
    """Age since the first of January of the year in the catalogue, or since the last interaction before the cut."""

    half_life_days: Annotated[float, Meta(gt=0, le=100_000)] = 1_826.0
    """Days in which the gain of recency halves. Default: five years."""

    tail_slot: Annotated[int, Meta(ge=0, le=100)] = 0
    """Place, counted from 1, that the least popular of the first `tail_from` candidates gets; 0: no such place."""

    tail_from: Annotated[int, Meta(ge=1, le=1_000)] = 50
    """See `tail_slot`."""

    def __post_init__(self) -> None:
        if self.tail_slot and not self.tail_slot <= self.tail_from <= self.candidates:
            told = f"{self.tail_slot}, {self.tail_from} and {self.candidates}"
            raise ValueError(f"tail_slot ≤ tail_from ≤ candidates is needed, got {told}")

    @property
    def active(self) -> bool:
        """Whether anything but relevance counts."""
        return bool(self.diversity or self.recency or self.tail_slot)


def read_ranking(path: Path) -> RankingSettings:
    """The settings in the TOML file `path`. `ValueError` names the file and the key."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=RankingSettings)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error


def ranking_of(environment: Mapping[str, str]) -> RankingSettings:
    """The settings that the variables of `environment` give. `ValueError` names the variable."""
    names = {PREFIX + field.upper(): field for field in RankingSettings.__struct_fields__}
    given = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    if unknown := sorted(given.keys() - names.keys()):
        raise ValueError(f"{unknown[0]} is no setting of the ranking; there are {', '.join(names)}")
    try:
        return msgspec.convert({names[name]: value for name, value in given.items()}, RankingSettings, strict=False)
    except msgspec.ValidationError as error:
        told = str(error)
        named = next((name for name in given if f"$.{names[name]}`" in told), f"{PREFIX}*")
        raise ValueError(
            f"{named}: {told.partition(' - at')[0]}, got {given.get(named, 'these together')!r}"
        ) from error


def variables_of(settings: RankingSettings) -> dict[str, str]:
    """The variables that give `settings`."""
    return {PREFIX + field.upper(): f"{getattr(settings, field)}" for field in settings.__struct_fields__}
