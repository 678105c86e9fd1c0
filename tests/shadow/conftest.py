"""What several modules of the pair log's tests are given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shadow.buckets import bucket


@pytest.fixture(scope="module")
def bucket_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What `s3://pair-logs` holds, with its credentials in the environment."""
    with bucket(tmp_path_factory.mktemp("s3")) as (directory, environment), pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield directory
