"""The way to the store: by S3 to a real server with a credential that may only write, in time, encrypted as asked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import obstore
import pytest
from obstore.exceptions import PermissionDeniedError

from shadow.processes import Stage
from shadow.router.shipper_settings import ShipperSettings
from shadow.router.store import PART_BYTES, Backoff, Store
from tests.shadow.router.stores import WRITER, Gateway, Recorder


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with Stage(tmp_path / "logs", dict(os.environ)) as stage:
        yield Gateway.opened(stage, tmp_path / "gateway")


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in WRITER.items():
        monkeypatch.setenv(name, value)


def settings(destination: str, **more: Any) -> ShipperSettings:
    return ShipperSettings(socket=Path("s"), spool=Path("spool"), destination=destination, **more)


async def test_a_credential_that_may_only_write_suffices_for_manifests_and_segments_in_parts(
    gateway: Gateway, tmp_path: Path
) -> None:
    store = Store(settings("s3://pairs/shop/live", endpoint=gateway.url))
    segment = tmp_path / "segment"
    segment.write_bytes(os.urandom(2 * PART_BYTES + 1))
    await store.put("e/i/000000000000.jsonl.zst", segment)
    for manifest in (b"old", b"new"):
        await store.put("e/i/manifest.json", manifest)
    written = gateway.bucket / "shop" / "live" / "e" / "i"
    assert (written / "000000000000.jsonl.zst").read_bytes() == segment.read_bytes()
    assert (written / "manifest.json").read_bytes() == b"new"
    with pytest.raises(PermissionDeniedError):
        obstore.head(store._store, "e/i/manifest.json")


async def test_a_bucket_that_is_not_there_is_an_error_that_names_it(gateway: Gateway) -> None:
    with pytest.raises(Exception, match="elsewhere"):
        await Store(settings("s3://elsewhere/log", endpoint=gateway.url)).put("e/i/manifest.json", b"{}")


async def test_a_put_that_takes_too_long_ends_at_its_deadline() -> None:
    recorder = Recorder(silent=True)
    endpoint = await recorder.start()
    with pytest.raises(Exception, match=r"timed out|timeout|^$"):
        await Store(settings("s3://pairs", endpoint=endpoint, put_seconds=0.3)).put("e/i/manifest.json", b"{}")
    assert len(recorder.heads) == 1
    recorder.stop()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, {}),
        ({"encryption": "AES256"}, {"x-amz-server-side-encryption": "aes256"}),
        (
            {"encryption": "aws:kms", "kms_key": "alias/pairs"},
            {"x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "alias/pairs"},
        ),
    ],
)
async def test_the_encryption_that_is_set_is_asked_of_the_store(asked: dict[str, str], told: dict[str, str]) -> None:
    recorder = Recorder()
    await Store(settings("s3://pairs", endpoint=await recorder.start(), **asked)).put("e/i/manifest.json", b"{}")
    recorder.stop()
    headers = dict(line.split(": ", 1) for line in recorder.heads[0].splitlines()[1:] if ": " in line)
    assert {name: value for name, value in headers.items() if "encryption" in name} == told


@pytest.mark.parametrize("url", ["gs://pairs/log", "az://pairs/log"])
def test_the_other_stores_are_taken(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That they are taken is all that is tested of them (docs/shipper.md)."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    Store(settings(url))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"destination": "ftp://there"}, "destination 'ftp://there'"),
        ({"destination": "/a/path"}, "destination '/a/path'"),
        ({"segment_bytes": 0}, "segment_bytes 0"),
        ({"spool_bytes": 100}, "spool_bytes 100"),
        ({"when_full": "wait"}, "when_full 'wait'"),
        ({"put_seconds": 0.0}, "put_seconds"),
        ({"encryption": "rot13", "destination": "s3://pairs"}, "encryption 'rot13'"),
        ({"encryption": "AES256"}, "encryption is for s3://"),
        ({"endpoint": "http://127.0.0.1"}, "endpoint is for s3://"),
        ({"kms_key": "k", "destination": "s3://pairs"}, "kms_key needs"),
        ({"retain_days": 1.0, "destination": "s3://pairs"}, "lifecycle rule"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_its_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        settings(**{"destination": "file:///tmp", **wrong})


@pytest.mark.parametrize("url", ["file://relative/path", "file:there"])
def test_a_file_url_without_an_absolute_path_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="give file:///"):
        Store(settings(url))


def test_pauses_double_to_the_longest_and_half_of_each_is_chance() -> None:
    backoff = Backoff(30.0, Random(1))
    pauses = [backoff.failed() for _ in range(12)]
    wholes = [min(30.0, 0.2 * 2**number) for number in range(12)]
    assert all(whole / 2 <= pause <= whole for pause, whole in zip(pauses, wholes, strict=True))
    assert len({pause / whole for pause, whole in zip(pauses, wholes, strict=True)}) == 12
    backoff.succeeded()
    assert backoff.failed() <= 0.2
