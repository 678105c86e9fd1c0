"""Every kind of bento keeps the contract: champion, challenger, hybrid, and one of seven items."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bentos.bundle import Bundle, load_bundle
from tests.bentos.bundles import synthetic_bundle
from tests.contracts.bento_contract import TOKEN, BentoContract, InProcess, OverHttp
from training.content import ContentSettings
from training.experiment import Experiment, ExportSettings
from training.export import export_bundle
from training.ials import IalsSettings
from training.model import fit_model
from training.split import split_by_time
from training.synthetic import synthetic_interactions, synthetic_movies

pytestmark = pytest.mark.timeout(240)
FUZZ_SECONDS = 30


def trained(directory: Path, name: str, least: int = 1, content: ContentSettings | None = None) -> Bundle:
    """A model of made-up ratings, exported as training exports."""
    interactions = synthetic_interactions(1, users=300, items=130, per_user=25)
    split, movies = split_by_time(interactions), synthetic_movies(interactions)
    ials, export = IalsSettings(dimension=16, sweeps=2), ExportSettings(min_history=least)
    experiment = Experiment(name=name, about="", ials=ials, export=export, content=content)
    fitted = fit_model(split.train, movies, experiment, threads=1)
    export_bundle(directory, experiment, fitted, split.train, movies, split.validation_from_us, {"data_hash": "none"})
    return load_bundle(directory)


class Champion:
    @pytest.fixture(scope="class")
    @classmethod
    def bundle(cls, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
        return trained(tmp_path_factory.mktemp("champion") / "bundle", "champion")


class Challenger:
    """Leaves out users with little history."""

    @pytest.fixture(scope="class")
    @classmethod
    def bundle(cls, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
        return trained(tmp_path_factory.mktemp("challenger") / "bundle", "challenger", least=12)


class Hybrid:
    @pytest.fixture(scope="class")
    @classmethod
    def bundle(cls, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
        content = ContentSettings(weight=0.8)
        return trained(tmp_path_factory.mktemp("hybrid") / "bundle", "hybrid", content=content)


class Tiny:
    """Fewer items than a list has."""

    @pytest.fixture(scope="class")
    @classmethod
    def bundle(cls, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
        directory = tmp_path_factory.mktemp("tiny") / "bundle"
        synthetic_bundle(directory, name="tiny", users=3, items=7)
        return load_bundle(directory)


@pytest.mark.xdist_group("contract")
class TestChampionInProcess(Champion, InProcess, BentoContract):
    pass


@pytest.mark.xdist_group("contract")
class TestChallengerInProcess(Challenger, InProcess, BentoContract):
    pass


@pytest.mark.xdist_group("contract")
class TestHybridInProcess(Hybrid, InProcess, BentoContract):
    pass


@pytest.mark.xdist_group("contract")
class TestTinyInProcess(Tiny, InProcess, BentoContract):
    pass


@pytest.mark.xdist_group("contract-champion")
class TestChampionOverHttp(Champion, OverHttp, BentoContract):
    def test_schemathesis_finds_no_server_error_and_nothing_but_what_the_document_says(
        self, url: str, tmp_path: Path
    ) -> None:
        """Its own 2,000 requests, made from the document: valid, invalid, at and beyond every bound."""
        checks = ("--checks", "all", "--phases", "examples,coverage,fuzzing", "--max-time", str(FUZZ_SECONDS))
        told = ("--header", f"Authorization: Bearer {TOKEN}", "--seed", "1", "--workers", "1", "--no-color")
        program = "from schemathesis.cli import schemathesis; schemathesis()"
        done = subprocess.run(
            [sys.executable, "-c", program, "run", f"{url}/openapi.json", "--url", url, *checks, *told],
            # It keeps what it found where it runs.
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=FUZZ_SECONDS + 60,
        )
        assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
        assert "5 selected / 5 total" in done.stdout


@pytest.mark.xdist_group("contract-challenger")
class TestChallengerOverHttp(Challenger, OverHttp, BentoContract):
    pass


@pytest.mark.xdist_group("contract-hybrid")
class TestHybridOverHttp(Hybrid, OverHttp, BentoContract):
    pass


@pytest.mark.xdist_group("contract-tiny")
class TestTinyOverHttp(Tiny, OverHttp, BentoContract):
    pass
