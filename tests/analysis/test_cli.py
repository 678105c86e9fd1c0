from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from analysis.cli import gate
from tests.analysis.pair_logs import DAY_US, HEAD, ITEMS, World, simulated, write_log
from tests.shadow.written import manifest_of, write_manifest

PLAN = Path(__file__).parents[2] / "plans" / "movielens-demo.yaml"
WORLDS = {
    "pass": World(users=1200),
    "hold": World(users=1200, fallback=0.3),
    "few": World(users=40),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    directory: Path = tmp_path_factory.mktemp("gate")
    items = range(ITEMS)
    table = pa.table({"item_id": [f"i{n}" for n in items], "tail": [n >= HEAD for n in items]})
    pq.write_table(table, directory / "catalogue.parquet")
    for name, world in WORLDS.items():
        write_log(directory / name, list(simulated(world)))
    (directory / "empty").mkdir()
    return directory


def run(place: Path, log: str, *others: str | Path, plan: Path = PLAN) -> Result:
    options = ["--plan", plan, "--catalogue", place / "catalogue.parquet", "--out", place / f"out-{log}"]
    return CliRunner().invoke(gate, [str(each) for each in (place / log, *options, *others)])


@pytest.mark.parametrize(
    ("log", "verdict", "code"), [("pass", "PASS", 0), ("hold", "HOLD", 1), ("few", "INCONCLUSIVE", 3)]
)
def test_the_exit_code_tells_the_verdict_and_three_reports_are_there(place, log, verdict, code):
    found = run(place, log)
    assert (found.exit_code, found.stdout.split()[0]) == (code, verdict)
    out = place / f"out-{log}"
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "report.json", "report.md"]
    assert json.loads((out / "report.json").read_text())["verdict"] == verdict
    assert found.stdout.splitlines()[-1] == f"report: {out / 'report.html'}"


def test_exit_zero_is_for_verdicts_and_not_for_errors(place):
    assert run(place, "hold", "--exit-zero").exit_code == 0
    assert run(place, "few", "--exit-zero").exit_code == 0
    assert run(place, "empty", "--exit-zero").exit_code == 4


def test_json_prints_the_report_and_nothing_else(place):
    found = run(place, "pass", "--json")
    assert found.stdout == (place / "out-pass" / "report.json").read_text()


@pytest.mark.parametrize("log", ["empty", "missing"])
def test_without_a_log_it_is_an_error_in_one_line_and_a_report(place, log):
    found = run(place, log)
    assert found.exit_code == 4
    assert found.stderr.startswith("error: ")
    assert len(found.stderr.splitlines()) == 1
    assert json.loads((place / f"out-{log}" / "report.json").read_text())["verdict"] == "ERROR"


def test_an_experiment_that_is_not_there_is_an_error_that_names_those_that_are(place):
    found = run(place, "pass", "--experiment", "other")
    assert found.exit_code == 4
    assert "demo" in found.stderr


def test_wrong_files_are_usage_errors_in_one_line(place, tmp_path):
    (tmp_path / "plan.yaml").write_text("name: x")
    (tmp_path / "file").write_text("")
    for found in (
        run(place, "pass", plan=tmp_path / "plan.yaml"),
        run(place, "pass", plan=tmp_path / "none.yaml"),
        run(place, "pass", "--catalogue", tmp_path / "none.parquet"),
        run(place, "pass", "--bundle", f"primary={tmp_path}"),
        run(place, "pass", "--out", tmp_path / "file" / "out"),
    ):
        assert found.exit_code == 2
        assert found.stderr.startswith("error: ")
        assert len(found.stderr.splitlines()) == 1
    assert run(place, "pass", "--bundle", "primary").exit_code == 2


def test_a_bundle_with_another_version_vetoes(place, tmp_path):
    (tmp_path / "manifest.json").write_text('{"name": "champion", "version": "ffffffffffff"}')
    found = run(place, "pass", "--bundle", f"primary={tmp_path}")
    assert found.exit_code == 3
    assert "its bundle is champion:ffffffffffff" in found.stdout


def test_a_torn_segment_and_a_lost_one_are_said(place, tmp_path):
    log = write_log(tmp_path / "log", list(simulated(World(users=1200))))
    segments = sorted(log.rglob("*.jsonl.zst"))
    segments[3].unlink()
    segments[-1].write_bytes(segments[-1].read_bytes()[:-100])
    options = ["--plan", PLAN, "--catalogue", place / "catalogue.parquet", "--out", tmp_path / "out"]
    found = CliRunner().invoke(gate, [str(each) for each in (log, *options)])
    assert found.exit_code == 3
    assert "veto: log:" in found.stdout
    assert "torn" in found.stdout


def test_a_log_that_grows_is_judged_up_to_its_watermark_and_an_ended_one_to_its_end(place, tmp_path):
    log = write_log(tmp_path / "log", list(simulated(World(users=1200))))
    (directory,) = (path.parent for path in log.rglob("manifest.json"))
    whole = manifest_of(directory)
    latest = max(entry.last_arrival_us for entry in whole.segments)
    now = time.time_ns() // 1000
    growing = msgspec.structs.replace(whole, complete=False, records=-1, written_us=now, undecided_us=DAY_US)
    found = {}
    for name, manifest in (("ended", whole), ("growing", growing)):
        write_manifest(directory, manifest)
        options = ["--plan", PLAN, "--catalogue", place / "catalogue.parquet", "--out", tmp_path / name]
        CliRunner().invoke(gate, [str(each) for each in (log, *options)])
        found[name] = json.loads((tmp_path / name / "report.json").read_text())["window"]
    assert found["ended"]["watermark_us"] == found["ended"]["last_event_us"] == latest
    assert found["growing"]["watermark_us"] == latest - DAY_US
    assert found["growing"]["last_event_us"] < latest - DAY_US
    assert found["growing"]["requests"] < found["ended"]["requests"]


def test_help_needs_no_heavy_import():
    code = (
        "import sys, analysis.cli; sys.exit(any(m in sys.modules for m in ('scipy', 'numpy', 'pydantic', 'pyarrow')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
