"""What every room's tests share: the real data, and patience with a busy machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Two cores with other tests on them: a slow example is no failure. The number of examples stays hypothesis' own.
settings.register_profile("understudy", deadline=None)
settings.load_profile("understudy")


@pytest.fixture(scope="session")
def movielens() -> Path:
    """The directory with the verified files of MovieLens-1M; without them a test fails in CI, else it is skipped."""
    from training.errors import DataError
    from training.movielens import fetch
    from training.settings import TrainingSettings

    try:
        return fetch(TrainingSettings.load().data_dir, lambda line: None, lambda got, expected: None)
    except DataError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
