"""`understudy ab analyze --exposures`: who is in which arm, who is left out, and which outcomes count."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result

from analysis.ab_cli import ab
from shadow.contracts import Exposure
from shadow.units import BUCKETS, bucket_of, key_id_of, unit_of
from tests.shadow import written
from tests.shadow.buckets import bucket

KEY = b"a key for tests only, 32 bytes.."
FRACTION = 0.25
CLICKS = ("--success", "clicks")


def unit(user: int) -> str:
    return unit_of(str(user).encode(), KEY)


def treated(user: int) -> bool:
    return bucket_of(unit(user)) < FRACTION * BUCKETS


def exposures(users: Iterable[int], experiment: str = "ranker", **changes: object) -> list[Exposure]:
    """One of each user, where its bucket is."""
    found = []
    for number, user in enumerate(users):
        arm = "shadow" if treated(user) else "primary"
        said = {"unit": unit(user), "bucket": bucket_of(unit(user)), "assigned": arm, "served": arm}
        found.append(written.exposure(number, experiment=experiment, **(said | changes)))
    return found


def numbered(*parts: Sequence[Exposure]) -> list[Exposure]:
    whole = [each for part in parts for each in part]
    return [msgspec.structs.replace(each, sequence=number) for number, each in enumerate(whole)]


def clicks_of(user: int) -> int:
    return user % 5 + 2 * treated(user)


def outcomes(path: Path, users: Iterable[int], raw: bool = False, **columns: Mapping[int, str]) -> Path:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user", "clicks", *columns])
        for user in users:
            rows.writerow([user if raw else unit(user), clicks_of(user), *(each[user] for each in columns.values())])
    return path


def analysed(data: Path, log: Path | str, *options: str, fraction: float = FRACTION) -> Result:
    where = ("--exposures", str(log), "--fraction", str(fraction))
    return CliRunner().invoke(ab, ["analyze", str(data), *where, *CLICKS, *options])


def document(data: Path, log: Path | str, *options: str) -> dict:
    result = analysed(data, log, *options, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


USERS = range(2_000)
IN = [user for user in USERS if treated(user)]
OUT = [user for user in USERS if not treated(user)]


def test_every_exposed_user_counts_in_its_arm_and_one_without_a_row_counts_as_zero(tmp_path):
    written.incarnation(tmp_path / "log", exposures(USERS), per_segment=500)
    silent = {user for user in USERS if user % 7 == 0}
    data = outcomes(tmp_path / "o.csv", [user for user in range(2_500) if user not in silent])
    found = document(data, tmp_path / "log")
    assert found["users"] == {"primary": len(OUT), "shadow": len(IN)}
    means = [np.mean([0 if user in silent else clicks_of(user) for user in arm]) for arm in (OUT, IN)]
    line = found["metrics"][0]
    assert (line["control"], line["treatment"]) == pytest.approx(tuple(means), rel=1e-12)
    assert found["notes"][-1] == (
        f"Outcomes: {2_000 - len(silent):,} rows of exposed users; {len(silent)} exposed users without a row count as "
        "0; 500 rows of 500 users who were not exposed, or are left out."
    )


def test_outcomes_in_parquet_and_by_raw_ids_say_the_same(tmp_path, monkeypatch):
    written.incarnation(tmp_path / "log", exposures(USERS), key_id=key_id_of(KEY))
    plain = document(outcomes(tmp_path / "o.csv", USERS), tmp_path / "log")
    monkeypatch.setenv("UNDERSTUDY_UNIT_KEY", KEY.decode())
    assert document(outcomes(tmp_path / "raw.csv", USERS, raw=True), tmp_path / "log", "--raw-ids") == plain
    table = pyarrow.table({"user": list(USERS), "clicks": [clicks_of(user) for user in USERS]})
    pyarrow.parquet.write_table(table, tmp_path / "raw.parquet")
    assert document(tmp_path / "raw.parquet", tmp_path / "log", "--raw-ids") == plain
    monkeypatch.setenv("UNDERSTUDY_UNIT_KEY", "another key of at least 16 bytes")
    refused = analysed(tmp_path / "raw.parquet", tmp_path / "log", "--raw-ids")
    assert refused.exit_code == 4
    assert "is not the key of this log" in refused.stderr


def test_the_assigned_arm_counts_whoever_answered(tmp_path):
    log = exposures(USERS)
    failed = {each.unit for each in log if each.assigned == "shadow"}
    log = [msgspec.structs.replace(each, served="primary", error="timeout") if each.unit in failed else each
           for each in log]  # fmt: skip
    written.incarnation(tmp_path / "log", log)
    found = document(outcomes(tmp_path / "o.csv", USERS), tmp_path / "log")
    assert found["users"]["shadow"] == len(IN)
    assert found["notes"][0] == (
        f"Exposures by assigned arm: primary {len(OUT):,} (0 not answered by it), "
        f"shadow {len(IN):,} ({len(IN):,} not answered by it)."
    )


def test_the_sample_ratio_is_that_of_the_exposed_users(tmp_path):
    lost = [user for user in USERS if not (treated(user) and user % 3 == 0)]
    written.incarnation(tmp_path / "log", exposures(lost))
    result = analysed(outcomes(tmp_path / "o.csv", USERS), tmp_path / "log")
    assert result.exit_code == 4
    assert result.stdout.startswith("Sample ratio mismatch (p = ")
    assert "Success metrics" not in result.stdout


def test_a_few_users_in_two_arms_are_left_out_and_told_and_many_end_the_analysis(tmp_path):
    data = outcomes(tmp_path / "o.csv", USERS)
    for name, number in (("few", 5), ("many", 200)):
        posted = exposures(IN[:number], assigned="primary", served="primary")
        written.incarnation(tmp_path / name, numbered(exposures(USERS), posted))
    found = document(data, tmp_path / "few")
    assert (found["crossed"], found["users"]["shadow"]) == (5, len(IN) - 5)
    refused = analysed(data, tmp_path / "many")
    assert refused.exit_code == 4
    assert "200 of 2,000 users were in two arms, more than 1 %" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    # Left out of one arm only they would make a mismatch, which the limit does not hide.
    assert analysed(data, tmp_path / "many", "--crossed-limit", "0.2").stdout.startswith("Sample ratio mismatch")


def test_by_bucket_users_in_two_arms_count_where_they_were_drawn(tmp_path):
    data = outcomes(tmp_path / "o.csv", USERS)
    posted = exposures(IN[:200], assigned="primary", served="primary")
    only_posted = exposures(IN[200:], assigned="primary", served="primary")
    written.incarnation(tmp_path / "log", numbered(exposures([*OUT, *IN[:200]]), posted, only_posted))
    found = document(data, tmp_path / "log", "--crossed", "bucket")
    assert (found["crossed"], found["users"]) == (0, {"primary": len(OUT), "shadow": len(IN)})
    said = f"Users are in the arm of their bucket: 200 were in two arms, {len(IN)} in another at times."
    assert said in found["notes"]


def test_the_ramp_does_not_count(tmp_path):
    early = exposures(IN[:100], assigned="primary", served="primary", arrival_us=1)
    written.incarnation(tmp_path / "log", numbered(early, exposures(USERS)))
    found = document(outcomes(tmp_path / "o.csv", USERS), tmp_path / "log", "--since", "2000-01-01")
    assert (found["crossed"], sum(found["users"].values())) == (0, 2_000)


def test_days_are_those_on_which_users_did_something_and_segments_have_the_silent_apart(tmp_path):
    written.incarnation(tmp_path / "log", exposures(USERS))
    days = {user: ("mon", "tue")[user % 2] for user in USERS}
    data = outcomes(tmp_path / "o.csv", range(1_800), day=days)
    found = document(data, tmp_path / "log", "--day", "day", "--segment", "day")
    assert [line["where"] for line in found["days"]] == ["mon", "tue"]
    assert [line["where"] for line in found["segments"]] == ["day=(no row)", "day=mon", "day=tue"]


def test_a_log_that_is_not_whole_is_told(tmp_path):
    written.incarnation(tmp_path / "log", exposures(USERS), numbered=2_010)
    found = document(outcomes(tmp_path / "o.csv", USERS), tmp_path / "log")
    assert found["notes"][-1].startswith("Log: 10 records are missing")


def test_a_log_in_a_bucket_is_one_too(tmp_path, monkeypatch):
    with bucket(tmp_path / "s3") as (directory, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        written.incarnation(directory, exposures(USERS))
        data = outcomes(tmp_path / "o.csv", USERS)
        assert document(data, "s3://pair-logs") == document(data, directory)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--since", "yesterday"), 2, "no time such as"),
        (("--share", "1"), 2, "not both"),
        (("--experiment", "none"), 2, "ranker"),
        (("--control", "champion"), 4, "no exposure of the control 'champion'; the arms are primary, shadow"),
        (("--since", "2200-01-01"), 4, "no exposure of a user"),
        (("--unit", "who"), 4, "no column 'who'"),
        (("--unit", "clicks"), 4, "must hold the log's units"),
    ],
)
def test_what_cannot_be_joined_is_one_line_and_its_exit_code(tmp_path, options, code, said):
    written.incarnation(tmp_path / "log", exposures(USERS))
    refused = analysed(outcomes(tmp_path / "o.csv", USERS), tmp_path / "log", *options)
    assert refused.exit_code == code, refused.output
    assert refused.stderr.startswith("error: ")
    assert len(refused.stderr.splitlines()) == 1
    assert said in refused.stderr


def test_two_experiments_two_keys_no_log_and_no_fraction_are_refused(tmp_path, monkeypatch):
    data = outcomes(tmp_path / "o.csv", USERS)
    for name in ("a", "b"):
        written.incarnation(tmp_path / "two", exposures(range(10), name))
    assert "say --experiment: a, b" in analysed(data, tmp_path / "two").stderr
    assert analysed(data, tmp_path / "none").exit_code == 2
    for name, key_id in (("one", "00000000"), ("two", "11111111")):
        written.incarnation(tmp_path / "keys", exposures(range(10), incarnation=name), key_id=key_id)
    assert "units of 2 keys" in analysed(data, tmp_path / "keys").stderr
    unsaid = CliRunner().invoke(ab, ["analyze", str(data), "--exposures", str(tmp_path / "two"), *CLICKS])
    assert (unsaid.exit_code, unsaid.stderr.startswith("error: say --fraction")) == (2, True)
    alone = CliRunner().invoke(ab, ["analyze", str(data), "--fraction", "0.1", *CLICKS])
    assert (alone.exit_code, "--fraction needs --exposures" in alone.stderr) == (2, True)
    monkeypatch.delenv("UNDERSTUDY_UNIT_KEY", raising=False)
    assert "needs UNDERSTUDY_UNIT_KEY" in analysed(data, tmp_path / "keys", "--raw-ids").stderr
