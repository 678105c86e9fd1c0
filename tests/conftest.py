"""What every room's tests share: the real data, and patience with a busy machine."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from _pytest.nodeid import coerce_node_id
from hypothesis import settings

# A shell that starts the tests in the background lets them ignore Ctrl-C, and so would all that they start and stop.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)

# Two cores with other tests on them: a slow example is no failure. The number of examples stays hypothesis' own.
settings.register_profile("understudy", deadline=None)
settings.load_profile("understudy")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let tests of one `xdist_group` run on one worker.

    pytest-xdist 3.8 tells the group by `_nodeid`, which pytest 9.2 no longer reads: each worker set the groups' bentos
    and servers up once more.
    """
    if getattr(config.option, "loadgroup", False):
        for item in items:
            mark = item.get_closest_marker("xdist_group")
            if mark is not None and not item.nodeid.endswith(f"@{mark.args[0]}"):
                item._id = coerce_node_id(f"{item.nodeid}@{mark.args[0]}")  # type: ignore[attr-defined]


def fetched(name: str, needed: bool) -> Path:
    """The directory with the verified files of a data set; without them a test is skipped, or fails in CI if needed."""
    from training.errors import DataError
    from training.fetching import fetch
    from training.movielens import PUBLISHED
    from training.settings import TrainingSettings

    try:
        cache = TrainingSettings.load().data_dir
        return fetch(PUBLISHED[name], cache, lambda line: None, lambda got, expected: None)
    except DataError as error:
        if needed and os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def movielens() -> Path:
    """MovieLens-1M."""
    return fetched("ml-1m", needed=True)


@pytest.fixture(scope="session")
def movielens_100k() -> Path:
    """MovieLens-100K: its layout is also tested on made-up files, so its sources may be out of reach."""
    return fetched("ml-100k", needed=False)


@pytest.fixture(scope="session")
def movielens_latest_small() -> Path:
    """MovieLens latest-small, edition of 2016; as for MovieLens-100K."""
    return fetched("ml-latest-small", needed=False)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an empty MLflow store on sqlite, its schema made once."""
    from tests.mlflow_stores import uri_of
    from training.local_registry import Handlers

    directory = tmp_path_factory.mktemp("migrated")
    Handlers(uri_of(directory))
    return directory / "mlflow.db"


@pytest.fixture
def store(migrated: Path, tmp_path: Path) -> str:
    """The URI of an empty MLflow store of the test's own."""
    from tests.mlflow_stores import copied

    return copied(migrated, tmp_path)
