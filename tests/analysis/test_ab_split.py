"""A split from end to end: a real router shows users one arm or the other, a real shipper ships their exposures, and
`understudy ab analyze` finds what these very users saw and did."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from analysis.ab_cli import ab
from shadow.processes import Stage, answers
from shadow.rehearsal import HOST, command
from shadow.units import BUCKETS, bucket_of, unit_of
from tests.ports import free_port
from tests.shadow.buckets import bucket
from tests.shadow.router import harness
from tests.shadow.router.test_process import SECRETS, configuration

USERS = 300
VISITS = 2
FRACTION = 0.3
KEY = SECRETS["UNDERSTUDY_UNIT_KEY"]
POSTERS = range(2)
"""Places among the split's users of those who also POST, which is always the primary's to answer."""


def user_of(head: str) -> int:
    return int(parse_qs(urlsplit(harness.target_of(head)).query)["user_id"][0].removeprefix("user-"))


def saying(name: str) -> harness.Answer:
    async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(harness.reply(json.dumps({"by": name})))
        return True

    return answer


async def often_ill(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """The candidate, which fails every tenth user: the primary answers these."""
    by = harness.error500 if user_of(head) % 10 == 3 else saying("candidate")
    return await by(head, reader, writer)


@contextmanager
def destination(kind: str, directory: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Where the shipper puts the log, and what one needs in the environment to get there."""
    if kind == "directory":
        yield (directory / "log").as_uri(), {}
        return
    with bucket(directory / "s3") as (_, environment):
        yield "s3://pair-logs", environment


@dataclass
class Seen:
    """What the users saw: the arm that answered each visit."""

    by: dict[int, list[str]]

    def clicks(self, user: int) -> int:
        """The candidate's lists are clicked more, by who saw them."""
        return sum((user * 7 + visit) % 4 + (arm == "candidate") for visit, arm in enumerate(self.by[user]))


async def asked(port: int, user: int, method: str = "GET") -> str:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(f"{method} /recommend?user_id=user-{user} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        status, _, body = await harness.read_answer(reader)
    finally:
        writer.close()
    assert status == 200
    return str(json.loads(body)["by"])


def treated(user: int) -> bool:
    unit = unit_of(f"user-{user}".encode(), KEY.encode())
    return bucket_of(unit) < FRACTION * BUCKETS


IN = [user for user in range(USERS) if treated(user)]
OUT = [user for user in range(USERS) if not treated(user)]


async def played(directory: Path, where: str, environment: dict[str, str]) -> Seen:
    """Shipper and router as processes in split mode, users who ask, and an orderly end of both."""
    primary, shadow = harness.Upstream(saying("primary")), harness.Upstream(often_ill)
    await primary.start()
    await shadow.start()
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as sockets,
        Stage(directory / "logs", os.environ | SECRETS | environment) as stage,
    ):
        path, port = Path(sockets) / "s.sock", free_port((0, 1))
        config = configuration(port, path, primary.port, shadow.port) | {
            "experiment": "ranker-2", "mode": "split", "split": {"arm": "shadow", "fraction": FRACTION},
            "routes": [{"method": method, "path": "/recommend"} for method in ("GET", "POST")],
        }  # fmt: skip
        (directory / "router.json").write_bytes(msgspec.json.encode(config))
        shipper = command("shipper", "--socket", path, "--spool", directory / "spool", "--destination", where)
        shipper += ["--endpoint", environment["AWS_ENDPOINT_URL"]] if environment else []
        await asyncio.to_thread(stage.start, "shipper", shipper, path.exists, 120)
        router = command("router", "--config", directory / "router.json")
        await asyncio.to_thread(stage.start, "router", router, lambda: answers(f"http://{HOST}:{port + 1}/readyz"), 120)
        seen = Seen({user: [await asked(port, user) for _ in range(VISITS)] for user in range(USERS)})
        for place in POSTERS:
            assert await asked(port, IN[place], "POST") == "primary"
        for name in ("router", "shipper"):
            assert await asyncio.to_thread(stage.stop, name) == 0
    for each in (primary, shadow):
        await each.stop()
    return seen


def outcomes(path: Path, seen: Seen) -> Path:
    """One row for each user who clicked at all, and rows of some whom the router never saw."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user", "clicks"])
        rows.writerows([f"user-{user}", seen.clicks(user)] for user in seen.by if seen.clicks(user))
        rows.writerows([f"stranger-{number}", 9] for number in range(20))
    return path


def analysed(data: Path, where: str, *options: str) -> dict:
    line = ["analyze", str(data), "--exposures", where, "--raw-ids", "--fraction", str(FRACTION)]
    result = CliRunner().invoke(ab, [*line, "--success", "clicks", "--json", *options])
    assert result.exit_code == 0, result.output
    document: dict = json.loads(result.stdout)
    return document


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["directory", "bucket"])
async def test_what_users_of_a_split_saw_and_did_is_what_the_analysis_says(tmp_path, monkeypatch, kind):
    with destination(kind, tmp_path) as (where, environment):
        seen = await played(tmp_path, where, environment)
        for name, value in (environment | {"UNDERSTUDY_UNIT_KEY": KEY}).items():
            monkeypatch.setenv(name, value)
        data = outcomes(tmp_path / "outcomes.csv", seen)
        found, drawn = analysed(data, where), analysed(data, where, "--crossed", "bucket")
    ill = [user for user in IN if user % 10 == 3]
    assert all(seen.by[user] == ["primary"] * VISITS for user in [*OUT, *ill])
    elsewhere = sum(arm != "candidate" for user in IN for arm in seen.by[user])
    assert found["notes"][0] == (
        f"Exposures by assigned arm: primary {len(OUT) * VISITS + len(POSTERS)} (0 not answered by it), "
        f"shadow {len(IN) * VISITS} ({elsewhere} not answered by it)."
    )
    posters = {IN[place] for place in POSTERS}
    strangers = 20 + len([user for user in posters if seen.clicks(user)])
    assert f"; {strangers} rows of {strangers} users who were not exposed, or are left out." in found["notes"][1]
    assert len(found["notes"]) == 2, "the log is whole"
    assert (found["crossed"], drawn["crossed"]) == (len(posters), 0)
    for document, arm in ((found, [user for user in IN if user not in posters]), (drawn, IN)):
        clicks = [[float(seen.clicks(user)) for user in users] for users in (OUT, arm)]
        line, theirs = document["metrics"][0], stats.ttest_ind(clicks[1], clicks[0], equal_var=False)
        assert document["users"] == {"primary": len(OUT), "shadow": len(arm)}
        assert line["absolute"] == pytest.approx(np.mean(clicks[1]) - np.mean(clicks[0]), rel=1e-9)
        assert line["p"] == pytest.approx(theirs.pvalue, rel=1e-9)
        assert (line["low"], line["high"]) == pytest.approx(tuple(theirs.confidence_interval()), rel=1e-9)
