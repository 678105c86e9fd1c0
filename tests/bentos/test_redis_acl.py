"""The two users of the store in a real Redis: what each may do, and that passwords stay where they belong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner

from bentos.bundle import Bundle
from bentos.errors import FeatureStoreError, StoreWriteError
from bentos.event_store import RedisEventStore
from bentos.feature_facts import load_facts
from bentos.feature_loading import connected, load_vectors, verify_vectors
from bentos.feature_scripts import EventLimits
from bentos.feature_versions import drop, erase, listed, pin, unpin
from bentos.features import Event, Features
from bentos.redis_acl import READER, WRITER, AclUser, set_user
from bentos.redis_cli import redis as redis_command
from tests.bentos.conftest import RedisServer
from tests.bentos.test_feature_facts import write
from tests.bentos.test_feature_store import DEADLINE, opened, quiet

PASSWORDS = {"understudy-reader": "read me", "understudy-writer": "w/r@t:e"}


@pytest.fixture
def guarded(redis_server: RedisServer) -> Iterator[dict[str, str]]:
    """URLs of the two users of a Redis whose default user is switched off."""
    with redis.Redis.from_url(redis_server.url) as admin:
        for user in (READER, WRITER):
            set_user(admin, user, PASSWORDS[user.name])
        admin.execute_command("ACL SETUSER", "default", "off")
        host = redis_server.url.removeprefix("redis://")
        yield {
            "reader": f"redis://understudy-reader:read%20me@{host}",
            "writer": f"redis://understudy-writer:w%2Fr%40t%3Ae@{host}",
        }
        # The server is asked for its process by the default user.
        admin.execute_command("ACL SETUSER", "default", "on")


async def test_the_reader_reads_everything_that_a_request_needs(
    guarded: dict[str, str], bundle: Bundle, tmp_path: Path
) -> None:
    with connected(guarded["writer"]) as client:
        load_facts(client, write(tmp_path / "f", [("u0000", "i0001", 4.0, 1)]), quiet)
        load_vectors(client, bundle, quiet)
    async with opened(guarded["reader"], bundle) as store:
        assert await store.connect(DEADLINE)
        found = await store.read("u0000")
        assert isinstance(found, Features)
        assert found.vector is not None
        assert found.seen == {"i0001"}
        await store.refresh()
        assert store.state.loaded is not None


async def test_the_reader_writes_nothing(guarded: dict[str, str], bundle: Bundle) -> None:
    store = RedisEventStore(guarded["reader"], DEADLINE, 1, EventLimits())
    for write_ in (store.add("u", "e", Event("i", 4.0, 1)), store.erase("u")):
        with pytest.raises(StoreWriteError) as refused:
            await write_
        assert refused.value.fault == "read_only"
    await store.close()
    with pytest.raises(FeatureStoreError, match="use the writer"), connected(guarded["reader"]) as client:
        load_vectors(client, bundle, quiet)


@pytest.mark.parametrize(
    "command",
    [
        ("SET", "seen:u", "i"),
        ("DEL", "seen:u"),
        ("EVAL", "return 1", 0),
        ("HGETALL", "versions"),
        ("GET", "pins:x"),
        ("GET", "another:key"),
        ("KEYS", "*"),
        ("CONFIG", "GET", "*"),
        ("FLUSHALL",),
        ("ACL", "LIST"),
        ("SUBSCRIBE", "x"),
    ],
)
def test_the_reader_may_do_nothing_else(guarded: dict[str, str], command: tuple[object, ...]) -> None:
    with redis.Redis.from_url(guarded["reader"]) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command)


@pytest.mark.parametrize(
    "command", [("SET", "another:key", 1), ("CONFIG", "GET", "*"), ("FLUSHALL",), ("KEYS", "*"), ("ACL", "LIST")]
)
def test_the_writer_may_not_touch_what_is_not_ours(guarded: dict[str, str], command: tuple[object, ...]) -> None:
    with redis.Redis.from_url(guarded["writer"]) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command)


async def test_the_writer_can_do_all_that_the_commands_and_the_api_do(
    guarded: dict[str, str], bundle: Bundle, tmp_path: Path
) -> None:
    version = bundle.manifest.version
    with connected(guarded["writer"]) as client:
        load_facts(client, write(tmp_path / "f", [("u0000", "i0001", 4.0, 1)]), quiet)
        load_vectors(client, bundle, quiet)
        assert verify_vectors(client, bundle, quiet) == []
        pin(client, version, "x")
        assert listed(client)[0].pins == ["x"]
        unpin(client, version, "x")
        assert erase(client, "u0000") == 3
        store = RedisEventStore(guarded["writer"], DEADLINE, 1, EventLimits())
        assert await store.add("u0001", "e", Event("i", 4.0, 1))
        assert await store.erase("u0001") == 4
        await store.close()
        assert drop(client, version, force=False, progress=quiet) == 48


def test_the_command_prints_digests_and_tells_made_up_passwords_once() -> None:
    environment = {"UNDERSTUDY_REDIS_READER_PASSWORD": "given secret"}
    result = CliRunner().invoke(redis_command, ["acl"], env=environment)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["user", "understudy-reader", "reset"],
        ["user", "understudy-writer", "reset"],
    ]
    assert "given secret" not in result.output
    name, _, password = result.stderr.strip().partition(": ")
    assert name == "understudy-writer"
    assert len(password) >= 32
    assert password not in result.stdout


def test_the_printed_lines_are_an_acl_file_for_the_server(redis_server: RedisServer, tmp_path: Path) -> None:
    environment = {f"UNDERSTUDY_REDIS_{kind}_PASSWORD": "secret" for kind in ("READER", "WRITER")}
    printed = CliRunner().invoke(redis_command, ["acl"], env=environment)
    (tmp_path / "users.acl").write_text(printed.stdout)
    redis_server.stop()
    redis_server.start("--acl", str(tmp_path / "users.acl"))
    with redis.Redis.from_url(redis_server.url.replace("//", "//understudy-reader:secret@")) as client:
        assert client.get("seen:u") is None
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.set("seen:u", "i")


def test_the_command_sets_the_users_of_a_running_server(redis_server: RedisServer) -> None:
    environment = {f"UNDERSTUDY_REDIS_{kind}_PASSWORD": "secret" for kind in ("READER", "WRITER")}
    result = CliRunner().invoke(redis_command, ["acl", "--set", "--redis", redis_server.url], env=environment)
    assert result.exit_code == 0
    with redis.Redis.from_url(redis_server.url.replace("//", "//understudy-writer:secret@")) as client:
        assert client.set("seen:u", "i")


@pytest.mark.parametrize(("user", "mode"), [(READER, "%R~"), (WRITER, "~")], ids=["reader", "writer"])
def test_each_user_has_exactly_its_rights(redis_server: RedisServer, user: AclUser, mode: str) -> None:
    """As the server itself tells them: keys, commands, nothing else. The reader's keys are for reading."""
    with redis.Redis.from_url(redis_server.url, decode_responses=True, protocol=2) as admin:
        set_user(admin, user, "x")
        reply = admin.connection_pool.get_connection()
        reply.send_command("ACL", "GETUSER", user.name)
        told = dict(zip(*[iter(reply.read_response())] * 2, strict=True))
        admin.connection_pool.release(reply)
    keys = {right for right in user.rights if "~" in right}
    assert {key.startswith(mode) for key in keys} == {True}
    assert set(told["keys"].split()) == keys
    # Redis calls the five of transactions by their category, which holds no other.
    transactions = {"+multi", "+exec", "+watch", "+unwatch", "+discard"}
    granted = {right for right in user.rights if "~" not in right}
    if transactions <= granted:
        granted = granted - transactions | {"+@transaction"}
    assert set(told["commands"].split()) in (granted, {right for right in user.rights if "~" not in right})
    assert (told["channels"], told["selectors"]) == ("", [])
    assert "nopass" not in told["flags"]
    assert not {"+set", "+hset", "+del", "+eval"} & set(READER.rights)
