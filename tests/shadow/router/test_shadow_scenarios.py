"""The scenarios of Envoy's test/integration/shadow_policy_integration_test.cc, one by one, on this router.

The docstrings name Envoy's test. Where Envoy's streaming shadow lets the shadow's side act on the primary's, or begins
a copy before the primary has answered, the expectation here is this router's: copies are offered after the answer.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import suppress

import pytest

from shadow.router.patience import REQUEST_SECONDS
from tests.shadow.router import harness
from tests.shadow.router.harness import digest, leave, read_answer, request, running, until
from tests.shadow.router.test_streaming import head_of, routes, saying

LARGE = 1024 * 65
"""As in Envoy's tests of buffer limits, whose limit is 1,024."""


def post(length: int, headers: str = "") -> bytes:
    return head_of("POST", "/recommend?user_id=1", f"Content-Length: {length}\r\n{headers}")


class Opened:
    """An upstream that has the head of a request and waits for its body, or for the end of its connection."""

    def __init__(self) -> None:
        self.body = b""
        self.complete = False
        self.ended = asyncio.Event()

    async def __call__(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            async for part in harness.body_parts(head, reader):
                self.body += part
            self.complete = True
            return await harness.silent(head, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            return False
        finally:
            self.ended.set()


async def test_each_request_is_answered_by_the_primary_and_reaches_both_over_one_connection_each() -> None:
    """Basic."""
    async with running() as stage:
        for number in range(2):
            status, _, body = await stage.get(f"/recommend?user_id={number}")
            assert (status, json.loads(body)) == (200, {"target": f"/recommend?user_id={number}"})
            await stage.settled()
        assert stage.outcomes == {"paired": 2}
        assert (stage.primary.connections, stage.shadow.connections) == (1, 1)
        assert [len(upstream.heads) for upstream in (stage.primary, stage.shadow)] == [2, 2]


async def test_clients_with_connections_of_their_own_share_the_connection_to_the_shadow() -> None:
    """BasicWithLimits."""
    async with running() as stage:
        for number in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
            writer.write(request(f"/recommend?user_id={number}", "Connection: close\r\n"))
            assert (await read_answer(reader))[0] == 200
            writer.close()
            await stage.settled()
        assert stage.shadow.connections == 1
        assert "connection: close" not in stage.shadow.heads[0].lower()


async def test_a_client_that_resets_within_its_request_resets_the_primary_and_the_shadow_never_hears_of_it() -> None:
    """RequestMirrorPolicyWithDownstreamReset: there both upstreams see a reset, for both got the head at once."""
    primary = Opened()
    async with running(primary=primary, config=routes()) as stage:
        _, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(post(100, "Potato: salad\r\n"))
        await until(lambda: stage.primary.heads)
        assert "potato: salad" in stage.primary.heads[0]
        leave(writer)
        await asyncio.wait_for(primary.ended.wait(), 60)
        await stage.settled()
        assert not primary.complete
        assert stage.outcomes == {"client_cancelled": 1}
        assert (stage.primary.connections, stage.shadow.connections) == (1, 0)


async def test_a_primary_that_resets_is_told_to_the_client_and_the_shadow_is_not_asked() -> None:
    """RequestMirrorPolicyWithMainUpstreamReset: there the shadow's stream is reset too."""
    async with running(primary=harness.reset, config=routes()) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(post(100))
        status, headers, body = await read_answer(reader)
        assert (status, headers["connection"]) == (502, "close")
        assert json.loads(body)["status"] == 502
        writer.close()
        await stage.settled()
        assert stage.outcomes == {"primary_error": 1}
        assert stage.shadow.connections == 0


async def test_a_shadow_that_resets_is_counted_and_the_client_has_its_answer() -> None:
    """RequestMirrorPolicyWithShadowUpstreamReset."""
    async with running(primary=digest, shadow=harness.reset, config=routes()) as stage:
        status, _, body = await stage.send(post(20) + b"x" * 20)
        assert (status, json.loads(body)["bytes"]) == (200, 20)
        await stage.settled()
        assert stage.outcomes == {"arm_error": 1}
        assert stage.collector.records[0]["arm_answer"]["error"] == "reset"
        assert stage.server.router.counters.document()["primary"] == {"answered": 1, "errors": 0}


async def test_a_request_that_does_not_come_to_its_end_in_time_ends_at_the_client_and_the_primary() -> None:
    """RequestMirrorPolicyWithEarlyDownstreamTimeout."""
    primary = Opened()
    async with running(primary=primary, primary_ms=60_000, config=routes()) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(post(100))
        await until(lambda: stage.primary.heads)
        [connection] = stage.server.clients
        connection.sweep(time.monotonic() + 2 * REQUEST_SECONDS)
        assert (await read_answer(reader))[0] == 408
        await asyncio.wait_for(primary.ended.wait(), 60)
        assert not primary.complete
        writer.close()
        await stage.settled()
        assert stage.outcomes == {"client_cancelled": 1}
        assert stage.shadow.connections == 0


async def test_a_primary_that_is_too_late_is_504_and_there_is_nothing_for_a_shadow_to_be_compared_with() -> None:
    """RequestMirrorPolicyWithLateDownstreamTimeoutAndShadowComplete: there the shadow has answered by then."""
    primary = Opened()
    async with running(primary=primary, primary_ms=100, config=routes()) as stage:
        status, _, _ = await stage.get("/recommend?user_id=1")
        assert status == 504
        await asyncio.wait_for(primary.ended.wait(), 60)
        await stage.settled()
        assert stage.outcomes == {"primary_error": 1}
        assert stage.collector.records[0]["primary"]["error"] == "timeout"
        assert stage.shadow.connections == 0


async def test_a_shadow_that_is_too_late_times_out_alone_after_the_answer() -> None:
    """RequestMirrorPolicyWithShadowOnlyTimeout."""
    shadow = Opened()
    async with running(shadow=shadow, deadline_ms=100) as stage:
        assert (await stage.get("/recommend?user_id=1"))[0] == 200
        assert stage.outcomes == {}
        await stage.settled()
        await asyncio.wait_for(shadow.ended.wait(), 60)
        assert stage.outcomes == {"arm_timeout": 1}


async def test_a_body_beyond_a_limit_of_the_primarys_own_is_its_answer_to_give() -> None:
    """MainRequestOverBufferLimit: the filter with the limit, which answers 413, stands before the primary."""

    async def limited(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        async for _ in harness.body_parts(head, reader):
            pass
        writer.write(harness.reply("{}", "413 Content Too Large"))
        return True

    async with running(primary=limited, shadow=digest, config=routes()) as stage:
        assert (await stage.send(post(LARGE) + b"x" * LARGE))[0] == 413
        await stage.settled()
        # A whole answer to a whole request is one side of a pair, whatever its status.
        assert stage.outcomes == {"paired": 1}
        [record] = stage.collector.records
        assert (record["primary"]["status"], record["arm_answer"]["status"]) == (413, 200)


@pytest.mark.parametrize("limit", [1_024, 0])
async def test_a_body_beyond_the_limit_of_copies_is_served_counted_and_recorded_with_its_size(limit: int) -> None:
    """ShadowRequestOverBufferLimit, and ShadowRequestOverRouteBufferLimit whose limit is 0: no counter tells there."""
    async with running(primary=digest, config=routes() | {"copy_bytes": limit}) as stage:
        status, _, body = await stage.send(post(LARGE) + b"x" * LARGE)
        assert (status, json.loads(body)["bytes"]) == (200, LARGE)
        await stage.settled()
        assert stage.outcomes == {"dropped:too_large": 1}
        assert stage.collector.records[0]["request_bytes"] == LARGE
        assert stage.shadow.connections == 0


class Deaf:
    """A listener that accepts by its backlog and never reads: its window fills, and stays full."""

    def __init__(self) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(64)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"


async def test_a_shadow_connection_that_is_full_before_a_request_begins_holds_no_answer_back() -> None:
    """BackedUpConnectionBeforeShadowBegins: there the primary's answer waits until the shadow's socket drains."""
    deaf = Deaf()
    config = routes() | {"copy_bytes": 8 << 20}
    size = 8 << 20
    async with running(primary=digest, url=deaf.url, concurrency=1, config=config) as stage:
        assert (await stage.send(post(size) + b"x" * size))[0] == 200
        [copy] = stage.server.mirrors[0]._under_way
        await until(lambda: copy.leg._connection is not None)
        assert copy.leg._connection.transport.get_write_buffer_size() > 1 << 20
        for number in range(10):
            assert (await stage.get(f"/recommend?user_id={number}"))[0] == 200
        assert stage.arm.in_flight == 11
        deaf.socket.close()
        await stage.settled()
        assert stage.arm.in_flight == 0


async def test_a_shadow_that_takes_its_copy_slowly_neither_pauses_the_client_nor_misses_a_byte() -> None:
    """RequestMirrorPolicyWithShadowBackpressure: there the client is paused, and a counter shows it."""
    reads = asyncio.Event()

    async def slow(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await reads.wait()
        return await digest(head, reader, writer)

    size = 8 << 20
    async with running(primary=digest, shadow=slow, config=routes() | {"copy_bytes": size}) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        for _ in range(3):
            writer.write(post(size) + b"x" * size)
            assert (await read_answer(reader))[0] == 200
        writer.close()
        assert stage.arm.in_flight == 3
        reads.set()
        await stage.settled()
        assert stage.outcomes == {"paired": 3}
        for record in stage.collector.records:
            assert record["primary"]["body"] == record["arm_answer"]["body"]


async def test_an_arm_is_named_by_its_configuration() -> None:
    """RequestMirrorPolicyWithCluster."""
    async with running(arms={"other": {"version": "challenger:3"}}) as stage:
        await stage.get("/recommend?user_id=1")
        await stage.settled()
        told = {record["arm"]: record["arm_answer"]["version"] for record in stage.collector.records}
        assert told == {"shadow": "challenger:2", "other": "challenger:3"}
        assert [upstream.connections for upstream in stage.upstreams.values()] == [1, 1]


async def test_what_is_set_for_all_arms_alike_is_on_every_copy() -> None:
    """RequestMirrorPolicyWithRouterUpstreamFilters."""
    async with running(headers={"X-Added": "yes"}, arms={"other": {}}) as stage:
        await stage.get("/recommend?user_id=1", "X-Added: no\r\n")
        await stage.settled()
        for upstream in stage.upstreams.values():
            assert harness.headers_of(upstream.heads[0])["x-added"] == "yes"
        assert harness.headers_of(stage.primary.heads[0])["x-added"] == "no"


async def test_what_is_set_for_one_arm_is_on_no_other_and_not_at_the_primary() -> None:
    """ClusterFilterOverridesRouterFilter."""
    async with running(arms={"other": {"headers": {"X-Added": "yes"}}}) as stage:
        await stage.get("/recommend?user_id=1")
        await stage.settled()
        assert harness.headers_of(stage.upstreams["other"].heads[0])["x-added"] == "yes"
        assert "x-added" not in stage.upstreams["shadow"].heads[0]
        assert "x-added" not in stage.primary.heads[0]


async def test_no_header_of_a_client_chooses_an_arm() -> None:
    """RequestMirrorPolicyWithClusterHeaderWithFilter: there a header names the cluster; here nobody outside may."""
    async with running(fraction=0.0, arms={"other": {"fraction": 1.0}}) as stage:
        await stage.get("/recommend?user_id=1", "X-Understudy-Arm: shadow\r\nX-Understudy-Experiment: mine\r\n")
        await stage.settled()
        assert stage.shadow.connections == 0
        headers = harness.headers_of(stage.upstreams["other"].heads[0])
        assert (headers["x-understudy-arm"], headers["x-understudy-experiment"]) == ("other", "test")


async def test_an_answer_of_400_by_the_primary_is_passed_on_and_is_one_side_of_a_pair() -> None:
    """OriginalClusterWithLocalReply."""
    async with running(primary=saying(harness.reply("{}", "400 Bad Request"))) as stage:
        assert (await stage.get("/recommend?user_id=1"))[0] == 400
        await stage.settled()
        [record] = stage.collector.records
        assert (record["primary"]["status"], record["arm_answer"]["status"]) == (400, 200)


async def test_an_answer_of_400_by_the_shadow_is_recorded_and_not_passed_on() -> None:
    """MirrorClusterWithLocalReply."""
    async with running(shadow=saying(harness.reply("{}", "400 Bad Request"))) as stage:
        assert (await stage.get("/recommend?user_id=1"))[0] == 200
        await stage.settled()
        [record] = stage.collector.records
        assert (record["primary"]["status"], record["arm_answer"]["status"]) == (200, 400)


async def test_what_the_primary_alone_gets_is_on_no_copy() -> None:
    """OriginalClusterWithAddBody: there a filter of the primary's leg adds something; here the router itself does."""
    async with running() as stage:
        await stage.get("/recommend?user_id=1", "X-Private: 1\r\n")
        await stage.settled()
        primary, copy = (harness.headers_of(upstream.heads[0]) for upstream in (stage.primary, stage.shadow))
        assert {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-private"} == primary.keys() - copy.keys()


async def test_path_host_and_headers_of_an_arm_are_changed_on_its_copies_alone_and_each_is_sent_once() -> None:
    """MirrorClusterWithAddBody."""
    changed = {"host": "arm.local", "paths": {"/recommend": "/v2/recommend"}, "headers": {"Authorization": "arm-key"}}
    async with running(arms={"other": changed}) as stage:
        _, _, body = await stage.get("/recommend?user_id=1&k=3", "Authorization: user-key\r\n")
        await stage.settled()
        assert json.loads(body) == {"target": "/recommend?user_id=1&k=3"}
        [head] = stage.upstreams["other"].heads
        assert harness.target_of(head) == "/v2/recommend?user_id=1&k=3"
        assert harness.headers_of(head)["host"] == "arm.local"
        assert harness.headers_of(head)["authorization"] == "arm-key"
        assert head.lower().count("authorization") == head.lower().count("\r\nhost:") == 1
        for upstream in (stage.primary, stage.shadow):
            [head] = upstream.heads
            assert harness.target_of(head) == "/recommend?user_id=1&k=3"
            assert harness.headers_of(head)["host"] == "reco"
        assert "authorization" not in stage.shadow.heads[0].lower()
        assert "authorization: user-key" in stage.primary.heads[0]
        assert [len(upstream.heads) for upstream in (stage.primary, *stage.upstreams.values())] == [1, 1, 1]


async def test_a_client_that_is_gone_when_its_answer_is_whole_still_makes_a_pair_if_it_left_in_order() -> None:
    """No test of Envoy's has it: an orderly end looks like a client that has said all (decision 0012)."""
    gate = asyncio.Event()

    async def held(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await gate.wait()
        return await harness.echo(head, reader, writer)

    async with running(primary=held) as stage:
        _, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(request("/recommend?user_id=1"))
        await until(lambda: stage.primary.heads)
        [connection] = stage.server.clients
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        await until(lambda: connection._eof)
        gate.set()
        await until(lambda: stage.arm.outcomes["paired"])
        await stage.settled()
        assert stage.outcomes == {"paired": 1}
