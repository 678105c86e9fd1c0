"""A bento behind `bentoml serve`: it drains, counts over all workers, and survives the death of one."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from bentos.serve_cli import KEEP_ALIVE_SECONDS
from shadow.rehearsal import HOST
from tests.bentos.bundles import synthetic_bundle
from tests.integration.served import Served, build, served

pytestmark = [pytest.mark.xdist_group("tampered"), pytest.mark.timeout(240)]
SERIES = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    directory = tmp_path_factory.mktemp("served")
    synthetic_bundle(directory / "bundle")
    return build(directory / "bundle", directory / "bentoml"), directory / "bentoml"


@pytest.fixture(scope="module")
def two_workers(built: tuple[str, Path]) -> Iterator[Served]:
    with served(*built, "--workers", "2") as service:
        yield service


def until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, what
        pause.wait(0.02)


def workers(service: Served) -> list[psutil.Process]:
    """The processes that answer: those that hold the service's code."""

    def command_line(process: psutil.Process) -> list[str]:
        try:
            return process.cmdline()
        except psutil.Error:
            return []

    return [each for each in service.running.family() if "_bentoml_impl.worker.service" in command_line(each)]


def metric(service: Served, name: str, **labels: str) -> list[float]:
    """The values of the series `name` that have these labels."""
    found = SERIES.findall(httpx.get(f"{service.url}/metrics").text)
    wanted = {f'{key}="{value}"' for key, value in labels.items()}
    return [float(value) for each, text, value in found if each == name and wanted <= set(text.split(","))]


class Upload:
    """A batch whose body is on its way until `finish`: a request under way for as long as the test likes."""

    def __init__(self, service: Served, users: int) -> None:
        body = json.dumps({"requests": [{"user_id": f"u{number:04}", "k": 10} for number in range(users)]}).encode()
        self._rest = body[20:]
        self._connection = http.client.HTTPConnection(HOST, service.port, timeout=30)
        self._connection.putrequest("POST", "/recommend:batch")
        self._connection.putheader("Content-Type", "application/json")
        self._connection.putheader("Content-Length", str(len(body)))
        self._connection.endheaders(body[:20])

    def finish(self) -> tuple[int, int, str | None]:
        """Status, number of lists and whether the connection is kept."""
        self._connection.send(self._rest)
        answer = self._connection.getresponse()
        lists = json.loads(answer.read())["answers"]
        self._connection.close()
        return answer.status, len([each for each in lists if len(each["items"]) == 10]), answer.getheader("connection")


def test_requests_under_way_at_sigterm_are_answered_and_readiness_fails_first(built: tuple[str, Path]) -> None:
    with served(*built, UNDERSTUDY_DRAIN_SECONDS="2") as service:
        uploads = [Upload(service, users=number + 1) for number in range(20)]
        until(lambda: metric(service, "understudy_requests_in_flight") == [20.0], "20 requests in flight")
        service.running.process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{service.url}/readyz").status_code == 503, "not ready")
        unready = httpx.get(f"{service.url}/readyz")
        assert unready.headers["retry-after"]
        assert unready.json()["detail"].startswith("draining")
        assert httpx.get(f"{service.url}/livez").status_code == 200
        late = httpx.get(f"{service.url}/model")
        assert (late.status_code, late.headers["connection"]) == (200, "close")
        # Half of them end while connections are still accepted, half when they no longer are.
        found = [upload.finish() for upload in uploads[:10]]
        until(lambda: not accepted(service), "no longer accepting")
        found += [upload.finish() for upload in uploads[10:]]
        assert found == [(200, number + 1, "close") for number in range(20)]
        assert service.running.process.wait(30) == 0
        assert not service.running.family()


def accepted(service: Served) -> bool:
    """Whether a new request is answered."""
    try:
        return httpx.get(f"{service.url}/livez", timeout=0.5).status_code == 200
    except httpx.HTTPError:
        return False


def test_metrics_are_of_all_workers_by_route_and_never_by_user(two_workers: Served) -> None:
    assert len(workers(two_workers)) == 2
    before = sum(metric(two_workers, "understudy_requests_total", route="/recommend"))
    for number in range(100):
        # A connection each, so that both workers get some.
        assert httpx.get(f"{two_workers.url}/recommend?user_id=somebody-{number}").status_code == 200
    assert httpx.get(f"{two_workers.url}/recommend?user_id=").status_code == 422
    assert httpx.get(f"{two_workers.url}/somebody-404").status_code == 404
    for _ in range(8):
        values = metric(two_workers, "understudy_requests_total", route="/recommend", status="200")
        assert sum(values) == before + 100
        assert metric(two_workers, "understudy_requests_total", route="/recommend", status="422") == [1.0]
        assert metric(two_workers, "understudy_requests_total", route="other", status="404") == [1.0]
        assert sum(metric(two_workers, "understudy_answers_total")) == before + 100
        assert sum(metric(two_workers, "understudy_request_duration_seconds_count", status="200")) == before + 100
        assert metric(two_workers, "understudy_model_info", bento=two_workers.tag) == [1.0]
    assert "somebody" not in httpx.get(f"{two_workers.url}/metrics").text


def test_what_a_worker_has_loaded_is_out_of_the_garbage_collector_s_way(two_workers: Served) -> None:
    # The libraries alone are more than that; without gc.freeze it is 0.
    frozen = re.findall(r"ready: .* (\d+) objects frozen", two_workers.running.tail(1_000))
    assert len(frozen) >= 2
    assert all(int(each) > 50_000 for each in frozen)


def test_the_only_description_of_the_api_is_ours(two_workers: Served) -> None:
    found = {path: httpx.get(f"{two_workers.url}{path}").status_code for path in ("/docs.json", "/schema.json")}
    assert found == {"/docs.json": 404, "/schema.json": 404}
    assert set(httpx.get(f"{two_workers.url}/openapi.json").json()["paths"]) >= {"/recommend", "/events"}


def test_an_idle_connection_is_kept_longer_than_pools_keep_theirs(two_workers: Served) -> None:
    server = [line for each in workers(two_workers) for line in [" ".join(each.cmdline())]]
    assert all(f"--timeout-keep-alive {KEEP_ALIVE_SECONDS}" in line for line in server)


def test_a_worker_that_dies_is_replaced_and_what_it_counted_stays(two_workers: Served) -> None:
    counted = sum(metric(two_workers, "understudy_requests_total"))
    connections = metric(two_workers, "understudy_feature_connections")
    assert connections > [0.0]
    victim = workers(two_workers)[0]
    os.kill(victim.pid, signal.SIGKILL)
    until(lambda: len(set(workers(two_workers)) - {victim}) == 2, "another worker")

    def ready() -> bool:
        try:
            return all(httpx.get(f"{two_workers.url}/readyz", timeout=1).status_code == 200 for _ in range(10))
        except httpx.HTTPError:
            return False

    until(ready, "both ready again")
    assert sum(metric(two_workers, "understudy_requests_total")) >= counted
    until(lambda: metric(two_workers, "understudy_requests_in_flight") == [0.0], "nothing in flight")
    # Those of the dead one are counted no more.
    until(lambda: metric(two_workers, "understudy_feature_connections") == connections, "as many connections as before")
