"""Whatever Redis does to a served bento: full lists, labelled, in time, each counted, and well again without a restart.

The service has its own deadline of 5 ms, and the server is real. How long a list waited for Redis is what the answer
itself tells (`Server-Timing`); the middle one may take ten times the deadline, for the machine may be busy. The
deadline to 10 µs is in `tests/bentos/test_feature_deadlines.py`.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from bentos.bundle import Bundle, load_bundle
from bentos.feature_loading import connected, load_vectors
from bentos.features import FAULTS
from bentos.settings import ServingSettings
from shadow.processes import Stage, answers
from shadow.rehearsal import HOST, command
from tests import redis_faults
from tests.bentos.bundles import synthetic_bundle
from tests.bentos.conftest import RedisServer
from tests.bentos.test_feature_store import quiet
from tests.integration.served import Served, build, environment
from tests.integration.test_served_bento import metric, until, workers
from tests.ports import free_port

pytestmark = [pytest.mark.xdist_group("tampered"), pytest.mark.timeout(240)]
DEADLINE_MS = ServingSettings.load({}).feature_deadline_ms
K = 10
ASKED = 30
USER = "u0007"
POPULAR = {"popular", "popular_recent"}
FEATURES_MS = re.compile(r"features;dur=([\d.]+)")
ACCOUNT, PASSWORD = "recommender", "right"


@dataclass
class Set:
    """A bento, the Redis that it asks by a name and a password, and what is loaded there."""

    service: Served
    redis: RedisServer
    bundle: Bundle
    environment: dict[str, str]

    def ask(self, user: str = USER) -> tuple[str, float]:
        """(source, ms for features) of an answer, which is full."""
        answer = httpx.get(f"{self.service.url}/recommend", params={"user_id": user, "k": K}, timeout=10)
        assert answer.status_code == 200
        assert len(answer.json()["items"]) == K
        found = FEATURES_MS.search(answer.headers["server-timing"])
        assert found
        return answer.json()["source"], float(found[1])

    def faults(self) -> Counter[str]:
        """Reads that failed, as the metrics tell."""
        name = "understudy_feature_faults_total"
        return Counter({fault: int(sum(metric(self.service, name, fault=fault))) for fault in FAULTS})

    def send_event(self, number: int) -> httpx.Response:
        event = {"user_id": "u0049", "item_id": "i0001", "rating": 4, "event_id": f"e{number}", "timestamp_us": number}
        return httpx.post(f"{self.service.url}/events", json=event, timeout=10)

    def prepare_redis(self) -> None:
        """An account and the vectors."""
        with connected(self.redis.url) as client:
            client.execute_command("ACL SETUSER", ACCOUNT, "on", f">{PASSWORD}", "~*", "+@all")
            load_vectors(client, self.bundle, quiet)


@pytest.fixture(scope="module")
def served_set(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Set]:
    directory, port = tmp_path_factory.mktemp("matrix"), free_port()
    synthetic_bundle(directory / "bundle")
    tag = build(directory / "bundle", directory / "bentoml")
    with Stage(directory / "logs", environment(directory / "bentoml")) as stage:
        server = RedisServer(stage, directory / "redis")
        running = server.start()
        url = server.url.replace("//", f"//{ACCOUNT}:{PASSWORD}@")
        made = Set(
            Served(tag, port, running, running, url), server, load_bundle(directory / "bundle"), stage.environment
        )
        made.prepare_redis()
        stage.environment |= {"UNDERSTUDY_REDIS_URL": url}
        made.service.running = stage.start(
            "bento",
            command("serve", tag, "--port", str(port)),
            lambda: answers(f"http://{HOST}:{port}/readyz"),
            seconds=90,
        )
        yield made


@contextmanager
def killed(there: Set) -> Iterator[None]:
    there.redis.kill()
    yield
    there.redis.start()
    there.prepare_redis()


def frozen(there: Set) -> AbstractContextManager[None]:
    return there.redis.frozen()


def slow(there: Set) -> AbstractContextManager[None]:
    return redis_faults.slow(there.redis.url)


def another_password(there: Set) -> AbstractContextManager[None]:
    return redis_faults.another_password(there.redis.url, ACCOUNT, f">{PASSWORD}")


@contextmanager
def no_right_to_read(there: Set) -> Iterator[None]:
    with connected(there.redis.url) as client:
        client.execute_command("ACL SETUSER", ACCOUNT, "-hget")
    yield
    with connected(there.redis.url) as client:
        client.execute_command("ACL SETUSER", ACCOUNT, "+hget")


def corrupt_value(there: Set) -> AbstractContextManager[None]:
    manifest = there.bundle.manifest
    return redis_faults.corrupt_vectors(there.redis.url, manifest.version, manifest.users, [USER])


FAULTY: dict[str, tuple[Callable[[Set], AbstractContextManager[None]], str]] = {
    "killed": (killed, "unreachable"),
    "frozen": (frozen, "timeout"),
    "slow": (slow, "timeout"),
    "wrong password": (another_password, "refused"),
    "no right to read": (no_right_to_read, "refused"),
    "corrupt value": (corrupt_value, "corrupt"),
}
"""What happens to Redis, and the fault that its reads come to have."""


@pytest.mark.parametrize("name", FAULTY)
def test_lists_stay_full_labelled_counted_and_in_time_and_are_personal_again_without_a_restart(
    served_set: Set, name: str
) -> None:
    there, (happens, fault) = served_set, FAULTY[name]
    until(lambda: there.ask()[0] == "hybrid", "well before")
    processes = [each.pid for each in workers(there.service)]
    before, found = there.faults(), list[tuple[str, float]]()
    with happens(there):
        # Before it is known what is the matter a read may be late.
        until(lambda: found.append(there.ask()) or there.faults()[fault] > before[fault], fault)
        found += [there.ask() for _ in range(ASKED)]
        counted = there.faults() - before
    sources = Counter(source for source, _ in found)
    popular = sum(number for source, number in sources.items() if source in POPULAR)
    assert set(sources) <= POPULAR | {"hybrid"}
    assert counted.total() == popular
    # Connections that the fault before this one broke may still be opening.
    assert set(+counted) <= {fault, "timeout", "unreachable"}
    assert counted[fault] >= 1
    if name != "slow":
        assert popular >= ASKED
    assert statistics.median(ms for _, ms in found) <= 10 * DEADLINE_MS
    until(lambda: there.ask()[0] == "hybrid", "well again")
    assert [each.pid for each in workers(there.service)] == processes


def test_a_load_without_users_asks_for_those_of_the_served_bento(served_set: Set, tmp_path: Path) -> None:
    until(lambda: served_set.ask()[0] == "hybrid", "well before")
    options = ("--requests", "50", "--rps", "50", "--json-out", tmp_path / "out.json")
    done = subprocess.run(
        command("load", "--to", served_set.service.url, *options),
        env=served_set.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert f"users: the 50 of {served_set.service.tag}" in done.stderr
    # Lateness is of this machine; who has no vector would never be served by one.
    assert json.loads((tmp_path / "out.json").read_text())["sources"]["hybrid"] > 25


def test_of_a_value_that_is_corrupt_only_its_user_knows(served_set: Set) -> None:
    until(lambda: served_set.ask()[0] == "hybrid", "well before")
    with corrupt_value(served_set):
        assert served_set.ask()[0] in POPULAR
        until(lambda: served_set.ask("u0008")[0] == "hybrid", "another user")


def test_a_redis_without_memory_serves_lists_and_refuses_events_until_there_is_room(served_set: Set) -> None:
    until(lambda: served_set.ask()[0] == "hybrid", "well before")
    with redis_faults.full(served_set.redis.url):
        refused = served_set.send_event(1)
        found = [served_set.ask() for _ in range(ASKED)]
    assert refused.status_code == 503
    assert "full" in refused.text
    # Lateness is of this machine.
    assert Counter(source for source, _ in found)["hybrid"] > ASKED // 2
    assert statistics.median(ms for _, ms in found) <= 10 * DEADLINE_MS
    until(lambda: served_set.send_event(1).json().get("accepted") == 1, "events are taken again")


def test_a_request_waits_for_a_frozen_redis_as_long_as_its_deadline_is_and_about_no_longer(served_set: Set) -> None:
    waited = []
    for _ in range(5):
        until(lambda: served_set.ask()[0] == "hybrid", "well before")
        with served_set.redis.frozen():
            # The first to ask: those after it may learn at once that the connection is late.
            waited.append(served_set.ask()[1])
    # A deadline that is missed is missed every time; the machine is not busy every time.
    assert any(DEADLINE_MS <= each <= 10 * DEADLINE_MS for each in waited), waited
