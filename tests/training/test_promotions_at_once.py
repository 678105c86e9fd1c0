"""Promotions by several real processes at once, over a file of sqlite and over a real MLflow server; training there."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from bentos.bundle import load_bundle
from bentos.promotion_log import PromotionLog
from bentos.promotions import Promotions
from bentos.registry import MODEL, Registry
from bentos.settings import RegistrySettings
from tests.mlflow_stores import add_versions, copied, opened, server
from tests.training.test_tracking import trained
from training import mlflow_store

pytestmark = [
    pytest.mark.xdist_group("mlflow"),
    pytest.mark.filterwarnings("ignore"),  # MLflow's own
]
ROUNDS = 50


class Promoter:
    """One process of `tests.training.promoter`."""

    def __init__(self, process: subprocess.Popen[str], name: str) -> None:
        self.process, self.name = process, name

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line, f"{self.name} ended with {self.process.wait(10)}"
        return line


@contextmanager
def promoter(uri: str, name: str) -> Iterator[Promoter]:
    command = [sys.executable, "-m", "tests.training.promoter", uri, name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Promoter(process, name)
        finally:
            process.kill()


async def state(registry: Registry) -> tuple[PromotionLog, int]:
    """The log, and where the champion's alias is."""
    return await Promotions(registry).read(), (await registry.aliases())["champion"]


async def play(store: str, uri: str, count: int) -> int:
    """`count` writers promote a version each, all having seen the same log; after every round exactly one has won.

    Returns the last winner's version.
    """
    async with opened(store) as registry:
        await add_versions(registry, 2 * count)
        with ExitStack() as running:
            writers = [running.enter_context(promoter(uri, f"writer {number}")) for number in range(count)]
            assert [each.hear() for each in writers] == ["ready"] * count
            for turn in range(ROUNDS):
                await play_round(registry, writers, turn)
        log, champion = await state(registry)
    assert len(log.counted("champion")) == ROUNDS
    assert len(log.records) == ROUNDS * count
    return champion


async def play_round(registry: Registry, writers: list[Promoter], turn: int) -> None:
    # Two sets of versions in turn: no round begins at a version that one of it promotes.
    targets = [1 + number + len(writers) * (turn % 2) for number in range(len(writers))]
    for writer, target in zip(writers, targets, strict=True):
        writer.tell(str(target))
    assert [writer.hear() for writer in writers] == ["writing"] * len(writers)
    for writer in writers:
        writer.tell("")
    outcomes = [json.loads(writer.hear()) for writer in writers]
    (winner,) = [number for number, outcome in enumerate(outcomes) if "won" in outcome]
    log, champion = await state(registry)
    last = log.last("champion")
    assert last is not None
    assert (last.by, last.to, last.number) == (f"writer {winner}", targets[winner], outcomes[winner]["won"])
    assert champion == targets[winner]
    for number, outcome in enumerate(outcomes):
        if number != winner:
            assert outcome["told"].startswith(f"lost: writer {winner} moved champion ")
            assert f"to version {targets[winner]} at " in outcome["told"]


def test_over_a_file_of_sqlite_exactly_one_of_three_wins_each_of_50_rounds(store: str) -> None:
    asyncio.run(play(store, store, 3))


@pytest.fixture(scope="module")
def served(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A store and the address of a server over it."""
    directory = tmp_path_factory.mktemp("served")
    store = copied(migrated, directory)
    with server(directory, store) as address:
        yield store, address


def test_over_a_server_exactly_one_of_two_wins_each_of_50_rounds(served: tuple[str, str]) -> None:
    asyncio.run(play(*served, 2))


def test_over_a_server_one_of_two_commands_at_once_exits_0_and_the_other_5(served: tuple[str, str]) -> None:
    store, address = served
    asyncio.run(add(store, 4))
    assert commands(address, [1]) == [0]
    for targets in ([2, 3], [1, 4]):
        champion = asyncio.run(champion_of(address))
        codes = commands(address, targets, "--from", str(champion))
        assert sorted(codes) == [0, 5]
        assert asyncio.run(champion_of(address)) == targets[codes.index(0)]


def test_over_a_server_a_training_leaves_a_version_with_its_bundle(served: tuple[str, str], tmp_path: Path) -> None:
    _, address = served
    first, second = (trained(address, tmp_path / name) for name in ("one", "two"))
    assert (first.new, second.new, first.number) == (True, False, second.number)
    version = mlflow_store.client(address).get_model_version(MODEL, str(first.number))
    fetched = mlflow_store.client(address).download_artifacts(version.run_id, "bundle", str(tmp_path))
    assert load_bundle(Path(fetched)).manifest.tag == first.tag


async def add(store: str, count: int) -> None:
    async with opened(store) as registry:
        await add_versions(registry, count)


async def champion_of(address: str) -> int:
    async with Registry(address, RegistrySettings.load({})) as registry:
        champion = await registry.champion()
    assert champion is not None
    return champion.number


def commands(address: str, targets: list[int], *more: str) -> list[int]:
    """Exit codes of `understudy models promote` for each target, all started at once."""
    base = [sys.executable, "-m", "shadow", "models", "promote", "--registry", address, *more]
    running = [subprocess.Popen([*base, str(target)], stderr=subprocess.DEVNULL) for target in targets]
    return [each.wait(60) for each in running]
