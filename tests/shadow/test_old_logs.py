"""Logs of earlier schema versions, written by the code of then, are read whole (tests/shadow/logs)."""

from __future__ import annotations

from pathlib import Path

import pytest

from shadow.batches import read_batches
from shadow.contracts import Answer
from shadow.segments import read_exposures, read_pairs
from shadow.watermark import watermark_of

LOGS = Path(__file__).parent / "logs" / "old"
HOUR_US = 3_600_000_000


@pytest.mark.parametrize(("version", "exposures", "request_bytes"), [(1, 0, 0), (2, 12, 17)])
def test_a_log_of_an_earlier_version_is_read_whole(version: int, exposures: int, request_bytes: int) -> None:
    log = read_pairs(LOGS / f"version-{version}")
    pairs = list(log)
    assert [each.request_id for each in pairs] == [f"r{number}" for number in range(12)]
    assert {each.schema_version for each in pairs} == {version}
    assert {each.request_bytes for each in pairs} == {request_bytes}
    first, second, third = pairs[:3]
    assert first.primary == Answer(
        version="champion:1", status=200, connect_us=120, upstream_us=4_000, body='{"items":[{"item_id":"0"}]}'
    )
    assert first.arm_answer is not None
    assert first.arm_answer.body_bytes() == b"\xff\x00"
    assert (second.outcome, second.arm_answer and second.arm_answer.error) == ("arm_timeout", "timeout")
    assert (third.outcome, third.arm_answer) == ("dropped:queue_full", None)
    assert log.health.complete
    assert (log.health.missing, log.health.other_kind) == (1, exposures)
    assert log.health.problems() == ["1 records were dropped by the router: its pipe was full"]
    assert len(list(read_exposures(LOGS / f"version-{version}"))) == exposures


def test_logs_of_several_versions_lie_side_by_side(tmp_path: Path) -> None:
    batches = read_batches(LOGS.parent, "old")
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert [row["schema_version"] for row in rows] == [1] * 12 + [2] * 12
    assert batches.health.complete
    assert watermark_of(LOGS.parent).arrival_us == rows[0]["event_time_us"] + 11 * HOUR_US
