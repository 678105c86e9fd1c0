"""The contracts survive the wire: what is encoded is decoded to the same value, whatever it holds."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow.contracts import (
    DROP_REASONS,
    OUTCOMES,
    SCHEMA_VERSION,
    SPOOL_DROP_REASONS,
    Answer,
    Exposure,
    Frame,
    Goodbye,
    Heartbeat,
    Hello,
    Manifest,
    PairRecord,
    SegmentEntry,
    SpoolDrop,
)
from shadow.router.records import as_text

text = st.text(max_size=40)
count = st.integers(0, 2**53)
answers = st.builds(
    Answer, version=text, status=st.integers(0, 599), connect_us=count, queue_us=count, upstream_us=count, body=text,
    body_encoding=st.sampled_from(["utf-8", "base64"]), truncated=st.booleans(), error=text,
)  # fmt: skip
records = st.builds(
    PairRecord, request_id=text, experiment=text, incarnation=text, sequence=count, arrival_us=count,
    event_time_us=count, method=text, target=text, unit=text, bucket=count, arm=text, outcome=st.sampled_from(OUTCOMES),
    primary=st.none() | answers, arm_answer=st.none() | answers,
)  # fmt: skip
exposures = st.builds(
    Exposure, request_id=text, experiment=text, incarnation=text, sequence=count, arrival_us=count, event_time_us=count,
    unit=text, bucket=count, assigned=text, served=text, version=text, status=st.integers(0, 599), error=text,
)  # fmt: skip
hellos = st.builds(
    Hello, experiment=text, incarnation=text, router=text, started_us=count, undecided_us=count, key_id=text
)  # fmt: skip
heartbeats = st.builds(
    Heartbeat, incarnation=text, sent_us=count, decided_us=count, numbered=count, dropped=count
)  # fmt: skip
goodbyes = st.builds(Goodbye, incarnation=text, records=count, dropped=count)
entries = st.builds(
    SegmentEntry, name=text, records=count, bytes=count, sha256=text, first_sequence=count, last_sequence=count,
    first_event_us=count, last_event_us=count, erased=count, last_arrival_us=count, header_times=count,
)  # fmt: skip
drops = st.builds(
    SpoolDrop, reason=st.sampled_from(SPOOL_DROP_REASONS), records=count, bytes=count, first_sequence=count,
    last_sequence=count,
)  # fmt: skip
manifests = st.builds(
    Manifest, experiment=text, incarnation=text, router=text, started_us=count, complete=st.booleans(), records=count,
    dropped=count, drops=st.lists(drops, max_size=3).map(tuple), written_us=count, segment_us=count, undecided_us=count,
    numbered=st.integers(-1, 2**53), told_us=count, decided_us=count, key_id=text,
    segments=st.lists(entries, max_size=3).map(tuple),
)  # fmt: skip


@given(records | exposures | hellos | heartbeats | goodbyes)
def test_every_frame_comes_back_as_it_was_and_is_one_line(frame: Frame) -> None:
    line = msgspec.json.encode(frame)
    assert b"\n" not in line
    assert msgspec.json.decode(line, type=Frame) == frame


@given(manifests)
def test_a_manifest_comes_back_as_it_was(manifest: Manifest) -> None:
    assert msgspec.json.decode(msgspec.json.encode(manifest), type=Manifest) == manifest


@given(st.binary(max_size=200))
def test_any_body_comes_back_byte_for_byte(body: bytes) -> None:
    kept, encoding = as_text(body)
    answer = Answer(version="v", status=200, body=kept, body_encoding=encoding)
    assert msgspec.json.decode(msgspec.json.encode(answer), type=Answer).body_bytes() == body


def test_a_body_that_is_no_text_is_base64() -> None:
    assert as_text(b"\xff\x00") == (base64.b64encode(b"\xff\x00").decode(), "base64")
    assert as_text("ä".encode()) == ("ä", "utf-8")


def test_the_fields_of_version_3_are_these() -> None:
    """A change here is a change of the contract: it needs a new SCHEMA_VERSION and a decision record."""
    assert SCHEMA_VERSION == 3
    kinds = (PairRecord, Answer, Exposure, Hello, Heartbeat, Manifest, SegmentEntry, SpoolDrop)
    fields: dict[str, Any] = {kind.__name__: kind.__struct_fields__ for kind in kinds}
    assert fields == {
        "PairRecord": (
            "schema_version", "request_id", "experiment", "incarnation", "sequence", "arrival_us", "event_time_us",
            "method", "target", "unit", "bucket", "arm", "outcome", "primary", "arm_answer",
            "request_bytes",
        ),
        "Answer": (
            "version", "status", "connect_us", "queue_us", "upstream_us", "body", "body_encoding", "truncated", "error",
        ),
        "Exposure": (
            "schema_version", "request_id", "experiment", "incarnation", "sequence", "arrival_us", "event_time_us",
            "unit", "bucket", "assigned", "served", "version", "status", "error",
        ),
        "Hello": (
            "schema_version", "experiment", "incarnation", "router", "started_us", "undecided_us", "key_id",
        ),
        "Heartbeat": ("schema_version", "incarnation", "sent_us", "decided_us", "numbered", "dropped"),
        "Manifest": (
            "schema_version", "experiment", "incarnation", "router", "started_us", "complete", "records", "dropped",
            "drops", "written_us", "segment_us", "undecided_us", "numbered", "told_us", "decided_us", "key_id",
            "segments",
        ),
        "SegmentEntry": (
            "name", "records", "erased", "last_arrival_us", "header_times", "bytes", "sha256", "first_sequence",
            "last_sequence", "first_event_us", "last_event_us",
        ),
        "SpoolDrop": ("reason", "records", "bytes", "first_sequence", "last_sequence"),
    }  # fmt: skip


def test_every_drop_reason_is_an_outcome() -> None:
    assert {f"dropped:{reason}" for reason in DROP_REASONS} <= set(OUTCOMES)


def test_a_record_without_a_required_field_is_no_record() -> None:
    with pytest.raises(msgspec.ValidationError, match="request_id"):
        msgspec.json.decode(b'{"record":"pair","experiment":"x"}', type=Frame)
