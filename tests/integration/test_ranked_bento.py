"""`understudy serve --ranking FILE`: the process ranks by it, and by event time only where that is switched on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from click.testing import CliRunner

from bentos.serve_cli import serve
from tests.bentos.bundles import synthetic_bundle
from tests.integration.served import Served, build, served

pytestmark = [pytest.mark.xdist_group("ranked"), pytest.mark.timeout(240)]
DAY_US = 86_400_000_000
RANKING = b'recency = 3.0\nrecency_of = "interaction"\nhalf_life_days = 10.0\n'


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Popularity falls with the row, and only the last item is new when the bundle ends."""
    directory = tmp_path_factory.mktemp("ranked")
    last = np.r_[np.full(39, 500 * DAY_US), 1_000 * DAY_US]
    synthetic_bundle(directory / "bundle", columns={"last_interaction_us": last})
    (directory / "ranking.toml").write_bytes(RANKING)
    tag = build(directory / "bundle", directory / "bentoml")
    options = ("--ranking", str(directory / "ranking.toml"), "--logical-clock")
    with served(tag, directory / "bentoml", *options, UNDERSTUDY_RETRIEVED_SHARE="1") as service:
        yield service


def first(service: Served, now_us: int | None = None) -> str:
    headers = {} if now_us is None else {"X-Understudy-Event-Time": str(now_us)}
    answer = httpx.get(f"{service.url}/recommend?user_id=nobody", headers=headers).json()
    assert answer["source"] == "popular"
    assert answer["retrieved"] == [f"i{row:04d}" for row in range(40)]
    return str(answer["items"][0]["item_id"])


def test_the_served_process_ranks_by_the_file_and_by_the_time_of_the_request(ranked: Served) -> None:
    assert first(ranked) == "i0039"
    assert first(ranked, 1_001 * DAY_US) == "i0039"
    assert first(ranked, 9_000 * DAY_US) == "i0000"
    told = httpx.get(f"{ranked.url}/model").json()["ranking"]
    assert (told["recency"], told["recency_of"], told["diversity"]) == (3.0, "interaction", 0.0)


def test_a_ranking_that_cannot_be_used_ends_serve_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "ranking.toml").write_bytes(b"recensy = 1")
    done = CliRunner().invoke(serve, ["champion:6de57512078d", "--ranking", str(tmp_path / "ranking.toml")])
    assert done.exit_code == 2
    assert done.output.count("\n") == 1
    assert "ranking.toml: Object contains unknown field `recensy`" in done.output
