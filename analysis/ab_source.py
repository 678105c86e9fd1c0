"""Where the rows of an A/B test come from: a table that says each user's arm, or a split's exposures and a table.

Next module: `analysis.ab_cli`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from analysis.ab_data import Rows
    from analysis.ab_judging import Settings

LEAVE_OUT: Final = "leave-out"
BUCKET: Final = "bucket"
RULES: Final = (LEAVE_OUT, BUCKET)
"""What becomes of users in two arms. `bucket`: of every user the arm is the one that its bucket has at the planned
share, whatever it was assigned (a method that may not be repeated is always the primary's)."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is said of it. `exposures`: the log's location, None for a table alone; `since_us`: the first arrival."""

    unit: str
    arm: str
    control: str
    exposures: str | None = None
    experiment: str | None = None
    since_us: int = 0
    raw_ids: bool = False
    crossed: str = LEAVE_OUT

    @staticmethod
    def of(given: dict[str, Any]) -> Source:
        """From the command's options; `ValueError` where they make no sense together."""
        exposures = given["exposures"]
        flags = {"--experiment": given["experiment"], "--since": given["since"], "--raw-ids": given["raw_ids"],
                 "--fraction": given["fraction"], "--crossed bucket": given["crossed"] == BUCKET}  # fmt: skip
        alone = [flag for flag, said in flags.items() if said and not exposures]
        if alone:
            raise ValueError(f"{alone[0]} needs --exposures, the log of a split")
        return Source(
            unit=given["unit"], arm=given["arm"], exposures=exposures, experiment=given["experiment"],
            control=given["control"] or ("primary" if exposures else "control"), crossed=given["crossed"],
            since_us=_microseconds(given["since"]), raw_ids=given["raw_ids"],
        )  # fmt: skip


def _microseconds(time: str | None) -> int:
    if time is None:
        return 0
    try:
        read = datetime.fromisoformat(time)
    except ValueError:
        raise ValueError(f"--since {time} is no time such as 2026-11-30T06:00Z") from None
    return round((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp() * 1e6)


def read(data: Path, source: Source, settings: Settings) -> Rows:
    """The rows. `DataError` where nothing can be told from them, `ValueError` for a missing key, `PairLogError` for a
    log that is not there."""
    from analysis.ab_columns import read_columns
    from analysis.ab_data import rows_of
    from analysis.ab_exposures import joined, read_assigned
    from analysis.settings import AnalysisSettings

    if source.exposures is None:
        columns = read_columns(data, (source.unit, source.arm, *settings.words), settings.numbers)
        return rows_of(columns, source.unit, source.arm, source.control, settings.words)
    key = AnalysisSettings.load().unit_key if source.raw_ids else None
    columns = read_columns(data, (source.unit, *settings.words), settings.numbers)
    assigned = read_assigned(source.exposures, source.experiment, source.control, source.since_us, key)
    return joined(assigned, source.crossed, settings.shares, columns, source.unit, settings.words, key)
