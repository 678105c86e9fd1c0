"""docs/pair-log.md describes every field of every struct, and its reader reads a log of the real writer."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shadow.contracts import (
    OUTCOMES,
    SCHEMA_VERSION,
    SPOOL_DROP_REASONS,
    Answer,
    Exposure,
    Manifest,
    PairRecord,
    SegmentEntry,
    SpoolDrop,
    Whole,
)
from shadow.erasure import erase_units
from shadow.units import key_id_of, unit_of
from shadow.watermark import SILENT_SECONDS, UNDECIDED_SECONDS
from tests.shadow import written

DOCUMENT = (Path(__file__).parents[2] / "docs" / "pair-log.md").read_text()
STRUCTS: tuple[type[msgspec.Struct], ...] = (PairRecord, Answer, Exposure, Manifest, SegmentEntry, SpoolDrop)
OLD = Path(__file__).parent / "logs"
TYPES = {
    "str": "str", "int": "int", "bool": "bool", "shadow.contracts.Answer | None": "Answer or null",
    "tuple[shadow.contracts.SpoolDrop, ...]": "list of SpoolDrop",
    "tuple[shadow.contracts.SegmentEntry, ...]": "list of SegmentEntry",
}  # fmt: skip


def table(struct: str) -> list[list[str]]:
    """The rows below the heading of that name: field, type, since, meaning."""
    section = DOCUMENT.split(f"\n### {struct}\n")[1].split("\n##")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "| `" in line]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_field_is_documented_in_its_order_with_its_type(struct: Any) -> None:
    def named(kind: object) -> str:
        kind = getattr(kind, "__origin__", kind) if isinstance(kind, type(Whole)) else kind  # Annotated has its limits
        return TYPES[kind.__name__ if isinstance(kind, type) and kind in (str, int, bool) else str(kind)]

    fields = [(f"`{field.name}`", named(field.type)) for field in msgspec.structs.fields(struct)]
    assert [(row[0], row[1]) for row in table(struct.__name__)] == fields


@pytest.mark.parametrize("version", [1, 2])
def test_what_is_there_since_a_version_is_in_the_logs_of_that_version(version: int) -> None:
    directory = OLD / "old" / f"version-{version}"
    manifest = json.loads((directory / "manifest.json").read_bytes())
    records = run_reader(directory)[0]
    for struct, found in (
        ("Manifest", manifest),
        ("SegmentEntry", manifest["segments"][0]),
        ("PairRecord", next(each for each in records if each["record"] == "pair")),
        ("Exposure", next((each for each in records if each["record"] == "exposure"), None)),
    ):
        if found is not None:
            since = {row[0].strip("`") for row in table(struct) if int(row[2]) <= version}
            assert since == set(found) - {"record"}


def test_every_outcome_and_reason_is_documented() -> None:
    for name in (*OUTCOMES, *SPOOL_DROP_REASONS):
        assert f"`{name}`" in DOCUMENT


def test_the_numbers_are_those_of_the_code() -> None:
    assert f"at most {SILENT_SECONDS / 60:.0f} minutes old" in DOCUMENT
    assert f"({UNDECIDED_SECONDS:.0f} s where it tells none)" in DOCUMENT
    assert f"less {UNDECIDED_SECONDS:.0f} s" in DOCUMENT
    assert f"in {tuple(range(1, SCHEMA_VERSION + 1))}:" in DOCUMENT


def test_the_formulas_of_unit_and_key_id_are_the_routers() -> None:
    import hashlib

    unit, key_id = re.findall(r"`(hashlib\.blake2b\(.*?hexdigest\(\))`", DOCUMENT, re.DOTALL)
    names = {"hashlib": hashlib, "user_id": b"17", "key": b"0123456789abcdef"}
    assert eval(unit, names) == unit_of(b"17", b"0123456789abcdef")
    assert eval(key_id, names) == key_id_of(b"0123456789abcdef")


def reader() -> str:
    """The reader in the document."""
    [code] = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    return code


def run_reader(location: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """What it prints: records, and lines about the log."""
    run = subprocess.run(
        [sys.executable, "-I", "-c", reader(), str(location)], capture_output=True, text=True, timeout=120, check=True
    )
    return [json.loads(line) for line in run.stdout.splitlines()], run.stderr.splitlines()


def test_the_reader_is_short_and_imports_nothing_of_ours() -> None:
    lines = [line for line in reader().splitlines() if line.strip()]
    assert len(lines) <= 30
    assert "shadow" not in reader()


def test_the_reader_reads_a_whole_log_as_we_do(tmp_path: Path) -> None:
    lines = [written.exposure(number) if number % 5 == 4 else written.pair(number) for number in range(40)]
    directory = written.incarnation(tmp_path, lines)
    records, told = run_reader(tmp_path)
    assert [msgspec.convert(each, PairRecord | Exposure) for each in records] == lines
    assert told == [f"{directory}: 0 records missing"]


def test_the_reader_counts_damage_loss_doubles_and_what_was_erased(tmp_path: Path) -> None:
    lines = [written.pair(number) for number in range(40)]
    directory = written.incarnation(tmp_path, lines, per_frame=5)
    erase_units(tmp_path, frozenset({written.UNITS[0]}))
    first, second, *_, last = sorted(directory.glob("*.zst"))
    content = bytearray(first.read_bytes())
    content[len(content) // 2] ^= 1
    first.write_bytes(content)
    (directory / "000000000010-2.jsonl.zst").write_bytes(second.read_bytes())
    last.unlink()
    records, told = run_reader(tmp_path)
    sequences = [each["sequence"] for each in records]
    assert len(sequences) == len(set(sequences))
    kept = [each.sequence for each in lines if each.unit != written.UNITS[0] and each.sequence < 30]
    assert set(sequences) <= set(kept)
    assert told[-1] == f"{directory}: {40 - 8 - len(sequences)} records missing"
    assert sum("not what the manifest says" in line for line in told) == 2
