"""A real S3 server on this machine (versitygw) for tests of what lies in a bucket."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shadow.processes import Stage, accepts
from tests.ports import free_port

BUCKET = "pair-logs"
KEYS = {"AWS_ACCESS_KEY_ID": "tests-only", "AWS_SECRET_ACCESS_KEY": "tests-only-secret"}


@contextmanager
def bucket(directory: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """The directory behind `s3://pair-logs`, and the environment of who uses it (skips without versitygw)."""
    server = shutil.which("versitygw")
    if server is None:
        pytest.skip("versitygw is not on the PATH")
    root = directory / "buckets"
    (root / BUCKET).mkdir(parents=True)
    port = free_port()
    secrets = {"ROOT_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]}
    with Stage(directory / "versitygw", os.environ | secrets) as stage:
        command = [server, "--quiet", "--port", f"127.0.0.1:{port}", "posix", str(root)]
        stage.start("versitygw", command, lambda: accepts("127.0.0.1", port))
        yield root / BUCKET, KEYS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_REGION": "us-east-1"}
