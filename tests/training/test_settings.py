"""Settings: a flag goes before the environment, that before the file, that before the default."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bentos.ranking_settings import PREFIX, RankingSettings
from training.errors import ConfigurationError
from training.experiment import read_experiment
from training.ials import IalsSettings
from training.settings import VARIABLES, Machine, MachineSettings, TrainingSettings

CONFIGURATION = """
name = "m"
about = "for the test"
[ials]
"""
FILE = MachineSettings(threads=2, device="cuda:2")
ENVIRONMENT = {"UNDERSTUDY_TORCH_THREADS": "3", "UNDERSTUDY_TORCH_DEVICE": "cuda:3"}
FLAGS = MachineSettings(threads=4, device="cuda:4")
NOTHING = MachineSettings()


@pytest.mark.parametrize(
    ("environment", "file", "flags", "expected"),
    [
        (ENVIRONMENT, FILE, FLAGS, Machine(4, "cuda:4")),
        (ENVIRONMENT, FILE, NOTHING, Machine(3, "cuda:3")),
        ({}, FILE, NOTHING, Machine(2, "cuda:2")),
        ({"UNDERSTUDY_TORCH_DEVICE": "", "UNDERSTUDY_TORCH_THREADS": ""}, FILE, NOTHING, Machine(2, "cuda:2")),
        ({"UNDERSTUDY_TORCH_THREADS": "3"}, FILE, MachineSettings(device="cpu"), Machine(3, "cpu")),
    ],
)
def test_the_order_of_precedence(
    environment: dict[str, str], file: MachineSettings, flags: MachineSettings, expected: Machine
) -> None:
    assert TrainingSettings.load(environment, file, flags).machine == expected


def test_the_default_is_the_processor_with_at_most_four_cores() -> None:
    machine = TrainingSettings.load({}).machine
    assert machine.device == "cpu"
    assert 1 <= machine.threads <= 4


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_a_variable_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="UNDERSTUDY_TORCH_THREADS must be a whole number from 1"):
        TrainingSettings.load({"UNDERSTUDY_TORCH_THREADS": text})


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("UNDERSTUDY_TRAINING_DIMENSOIN", "UNDERSTUDY_"),
        ("UNDERSTUDY_TORCH_THREAD", "UNDERSTUDY_TORCH_THREADS"),
        ("UNDERSTUDY_TORHC_DEVICE", "UNDERSTUDY_TORCH_DEVICE"),
        ("UNDERSTUDY_THREADS", "UNDERSTUDY_TORCH_THREADS"),
        ("UNDERSTUDY_DATADIR", "UNDERSTUDY_DATA_DIR"),
        ("UNDERSTUDY_DATA_PLACE", "UNDERSTUDY_DATA_DIR"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_nearest_there_is(name: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is no variable of training; the nearest is {nearest}"):
        TrainingSettings.load({name: "4"})


def test_the_variables_of_other_rooms_and_programs_are_left_alone() -> None:
    """Whatever a module of this repository names as a variable, and training's settings do not."""
    named = {
        name
        for room in ("analysis", "bentos", "shadow", "tests")
        for path in Path(room).rglob("*.py")
        if path.parent != Path("tests/training")
        for name in re.findall(r"\bUNDERSTUDY_[A-Z_]*[A-Z]\b", path.read_text())
    }
    named |= {PREFIX + field.upper() for field in RankingSettings.__struct_fields__}
    assert {"UNDERSTUDY_UNIT_KEY", "UNDERSTUDY_REDIS_URL", "UNDERSTUDY_METRICS_DIR"} <= named
    given = dict.fromkeys(named - set(VARIABLES), "1") | {"TORCH_HOME": "x", "understudy_torch_thread": "x"}
    assert TrainingSettings.load(given) == TrainingSettings.load({})


def test_the_data_directory_is_in_the_users_cache(tmp_path: Path) -> None:
    assert TrainingSettings.load({"XDG_CACHE_HOME": str(tmp_path)}).data_dir == tmp_path / "understudy"
    assert TrainingSettings.load({"UNDERSTUDY_DATA_DIR": str(tmp_path)}).data_dir == tmp_path


STARS = [half / 2 for half in range(1, 11)]


@given(
    st.integers(2, 20).map(lambda quarter: quarter / 4),
    st.dictionaries(
        st.sampled_from([f"{each:g}" for each in STARS]), st.sampled_from([0.0, -0.0, 0.5, 1.0]), max_size=4
    ),
)
def test_settings_are_one_model_when_they_weigh_every_rating_alike(positive: float, weights: dict[str, float]) -> None:
    """The canonical form weighs and takes for positive what the settings do, and says nothing that is the default."""
    settings = IalsSettings(positive=positive, weights=weights)
    canonical, stars = settings.canonical, np.array(STARS, np.float32)
    np.testing.assert_array_equal(canonical.confidence(stars), settings.confidence(stars))
    np.testing.assert_array_equal(stars >= canonical.positive, stars >= positive)
    assert canonical == canonical.canonical
    for name in canonical.weights:
        fewer = {key: weight for key, weight in canonical.weights.items() if key != name}
        assert (IalsSettings(positive=positive, weights=fewer).confidence(stars) != settings.confidence(stars)).any()


@pytest.mark.parametrize("path", sorted(Path("training/configs").glob("*.toml")), ids=lambda path: path.stem)
def test_the_digests_of_the_committed_configurations_are_those_of_their_plain_settings(path: Path) -> None:
    """What was logged of them before there was a canonical form still refuses them."""
    experiment = read_experiment(path)
    plain = msgspec.json.encode((experiment.ials, experiment.content), order="sorted")
    assert experiment.model_digest == hashlib.sha256(plain).hexdigest()[:12]


@pytest.mark.parametrize("more", ["[ials.weights]\n5 = 1\n", "positive = 3.6\n", "[ials.weights]\n2 = -0.0\n4 = 1.0\n"])
def test_a_default_that_is_written_out_is_no_other_model(tmp_path: Path, more: str) -> None:
    plain, written = tmp_path / "plain.toml", tmp_path / "written.toml"
    plain.write_text(CONFIGURATION)
    written.write_text(CONFIGURATION + more)
    assert read_experiment(written).model_digest == read_experiment(plain).model_digest
    assert read_experiment(written).digest == read_experiment(plain).digest
    written.write_text(CONFIGURATION + "[ials.weights]\n5 = 1.1\n")
    assert read_experiment(written).model_digest != read_experiment(plain).model_digest


def test_the_machine_of_a_file_is_no_part_of_the_model(tmp_path: Path) -> None:
    plain, placed = tmp_path / "plain.toml", tmp_path / "placed.toml"
    plain.write_text(CONFIGURATION)
    placed.write_text(CONFIGURATION + "[machine]\nthreads = 2\ndevice = 'cuda'\n")
    assert read_experiment(placed).machine == MachineSettings(threads=2, device="cuda")
    assert read_experiment(placed).digest == read_experiment(plain).digest
    assert read_experiment(placed).model_digest == read_experiment(plain).model_digest


KEYS = [
    ("surprise = 1\n", "surprise"),
    ("[ials]\ndimensions = 3\n", "dimensions"),
    ("[ials]\n[ials.weights]\n6 = 1.0\n", "6"),
    ("[ials]\n[content]\nregularization = 3.0\n", "regularization"),
    ("[ials]\n[export]\nhistory = 3\n", "history"),
    ("[ials]\n[machine]\ncores = 3\n", "cores"),
    ("[ials]\n[machine]\nthreads = 0\n", "threads"),
    ("[ials]\ndimension = 'many'\n", "dimension"),
    ("[ials]\n[export]\nmin_history = -1\n", "min_history"),
    ("[ials]\nregularisation = inf\n", "regularisation"),
    ("[ials]\nunobserved_weight = nan\n", "unobserved_weight"),
    ("[ials]\nseed = -1\n", "seed"),
    ("[ials]\n[ials.weights]\n5 = inf\n", "5 is inf"),
    ("[ials]\n[content]\nregularisation = inf\n", "regularisation"),
]


@pytest.mark.parametrize(("text", "named"), KEYS)
def test_an_unknown_or_impossible_key_is_refused_by_file_and_name(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "experiment.toml"
    path.write_text("name = 'm'\nabout = 'a test'\n" + text)
    with pytest.raises(ConfigurationError, match=rf"experiment\.toml.*{named}"):
        read_experiment(path)


@pytest.mark.parametrize("name", ["", "Champion", "a b", "../x", "-x"])
def test_a_name_that_is_no_tag_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "experiment.toml"
    path.write_text(f"name = {name!r}\nabout = ''\n[ials]\n")
    with pytest.raises(ConfigurationError, match="name"):
        read_experiment(path)


def test_a_file_that_is_no_toml_or_no_text_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "experiment.toml"
    for content in (b"name = ", b"\xff\xfe\x00"):
        path.write_bytes(content)
        with pytest.raises(ConfigurationError, match=r"experiment\.toml"):
            read_experiment(path)
    with pytest.raises(ConfigurationError, match=r"missing\.toml: cannot be read"):
        read_experiment(tmp_path / "missing.toml")


def test_settings_do_not_change() -> None:
    with pytest.raises(AttributeError):
        TrainingSettings.load({}).torch_threads = 3  # type: ignore[misc]
    with pytest.raises(AttributeError):
        msgspec.convert({}, MachineSettings).threads = 3  # type: ignore[misc]
