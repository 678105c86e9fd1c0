"""`understudy features` against a real Redis: what is said, and how it ends."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from bentos.bundle import Bundle
from bentos.feature_loading import connected
from bentos.features import seen_key
from bentos.features_cli import features
from tests.bentos.test_feature_facts import write


def run(*arguments: str | Path, url: str) -> Result:
    return CliRunner().invoke(features, [*map(str, arguments)], env={"UNDERSTUDY_REDIS_URL": url})


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    return write(tmp_path / "facts.parquet", [("u0000", "i0001", 4.0, 1), ("u0001", "i0002", 5.0, 2)])


def test_load_says_what_was_loaded_and_what_is_there_already(redis_url: str, bundle: Bundle, facts: Path) -> None:
    first = run("load", bundle.directory, "--facts", facts, url=redis_url)
    assert first.exit_code == 0, first.output
    assert "facts.parquet: facts of 2 users (" in first.stdout
    assert f"{bundle.manifest.tag}: vectors of 50 users (" in first.stdout
    assert first.stderr == ""
    second = run("load", bundle.directory, "--facts", facts, url=redis_url)
    assert second.stdout.count("are there already (--again loads them again)") == 2
    again = run("load", bundle.directory, "--facts", facts, "--again", url=redis_url)
    assert "already" not in again.stdout


def test_verify_ends_with_1_and_names_the_first_wrong_user(redis_url: str, bundle: Bundle) -> None:
    run("load", bundle.directory, url=redis_url)
    assert run("verify", bundle.directory, url=redis_url).exit_code == 0
    run("erase", "u0042", url=redis_url)
    wrong = run("verify", bundle.directory, url=redis_url)
    assert wrong.exit_code == 1
    assert "1 of 50 vectors missing or different, first: user u0042" in wrong.stdout


def test_pins_show_in_the_list_and_guard_against_dropping(redis_url: str, bundle: Bundle) -> None:
    version = bundle.manifest.version
    assert "not loaded yet" in run("pin", version, "--by", "primary", url=redis_url).stdout
    run("load", bundle.directory, url=redis_url)
    heading, line = run("list", url=redis_url).stdout.splitlines()
    assert heading.split() == ["version", "name", "users", "MB", "age", "expires", "pinned", "by"]
    assert line.split()[:3] == [version, "champion", "50"]
    assert line.split()[-2:] == ["never", "primary"]
    (listed,) = msgspec.json.decode(run("list", "--json", url=redis_url).stdout)
    assert (listed["users"], listed["pins"], listed["expires_seconds"]) == (50, ["primary"], None)
    refused = run("drop", version, url=redis_url)
    assert refused.exit_code == 2
    assert f"error: {version} is pinned by primary" in refused.stderr
    assert "will expire" in run("unpin", version, "--by", "primary", url=redis_url).stdout
    assert run("list", url=redis_url).stdout.splitlines()[1].split()[-3:] == ["14", "d", "-"]
    assert run("drop", version, url=redis_url).stdout == "50 vectors dropped\n"
    assert run("list", url=redis_url).stdout.count("\n") == 1


def test_the_time_to_live_is_an_option(redis_url: str, bundle: Bundle) -> None:
    run("load", bundle.directory, "--ttl-days", "3", url=redis_url)
    assert run("list", url=redis_url).stdout.splitlines()[1].split()[-3:] == ["3", "d", "-"]


def test_erase_says_how_much_was_removed(redis_url: str, bundle: Bundle, facts: Path) -> None:
    run("load", bundle.directory, "--facts", facts, url=redis_url)
    assert run("erase", "u0001", url=redis_url).stdout == "3 keys and vectors removed\n"
    assert run("erase", "u0001", url=redis_url).stdout == "0 keys and vectors removed\n"
    with connected(redis_url) as client:
        assert client.get(seen_key("u0000")) == b"i0001"


def test_a_redis_that_is_not_there_is_one_line_and_2_without_the_password(bundle: Bundle) -> None:
    result = run("load", bundle.directory, url="redis://me:secret@127.0.0.1:1/0")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "redis://***@127.0.0.1:1/0" in result.stderr
    assert "secret" not in result.output
    helped = CliRunner().invoke(features, ["load", "--help"], env={"UNDERSTUDY_REDIS_URL": "redis://me:secret@host/0"})
    assert "secret" not in helped.output
