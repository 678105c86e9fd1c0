"""What routers should have in force, from the resource and from who plays."""

from __future__ import annotations

from typing import Any

import pytest

from shadow.controller.resource import ResourceError, Serving
from shadow.controller.router_config import router_config
from shadow.router.config import RouterConfig
from tests.shadow.controller.resources import CHALLENGER, CHAMPION, ON_TRIAL, resource


def config(serving: Serving = ON_TRIAL, **spec: Any) -> RouterConfig:
    return router_config(resource(**spec), serving)


def shares(**spec: Any) -> list[float]:
    return [arm.fraction for arm in config(**spec).arms]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, [1.0, 1.0]),
        ({"mirror": {"percent": 25}}, [0.25, 0.25]),
        ({"mirror": {"percent": 25}, "control": {"percent": 2}}, [0.25, 0.02]),
        ({"mirror": {"percent": 0}}, [0.0, 0.0]),
        ({"mirror": {"fraction": {"numerator": 1, "denominator": 1_000_000}}}, [1e-6, 1e-6]),
        ({"mirror": {"fraction": {"numerator": 3}}}, [0.03, 0.03]),
    ],
)
def test_the_control_is_shown_what_the_shadow_is_unless_it_has_its_own_share(
    spec: dict[str, Any], expected: list[float]
) -> None:
    assert shares(**spec) == expected


def test_paused_copies_nothing_and_keeps_the_arms() -> None:
    paused = config(paused=True)
    assert paused.mode == "off"
    assert [arm.name for arm in paused.arms] == ["shadow", "control"]
    assert config().mode == "mirror"


def test_records_name_the_bentos() -> None:
    made = config()
    assert made.primary.version == CHAMPION.bento
    assert [arm.version for arm in made.arms] == [CHALLENGER.bento, CHAMPION.bento]


def test_bounds_are_those_that_memory_was_kept_for() -> None:
    router = {"existingSecret": "s", "queueSize": "8Mi", "answerSize": "16Ki", "concurrency": 4, "connections": 99}
    made = config(router=router, mirror={"concurrency": 200})
    assert {(arm.queue_bytes, arm.answer_bytes, arm.concurrency) for arm in made.arms} == {(8 << 20, 16 << 10, 4)}
    assert made.connections == 99


def test_what_no_router_would_take_is_refused_and_not_handed_out() -> None:
    """A rule that a definition older than the operator lacks: a new pod of the primary would not get ready by it."""
    with pytest.raises(ResourceError, match=r"no router takes .*routes: //events tells what users did"):
        config(mirror={"routes": [{"path": "//events"}]})


def test_only_the_two_ports_of_the_pod_are_open_to_others() -> None:
    made = config()
    assert (made.listen, made.observe, made.admin) == ("0.0.0.0:8080", "0.0.0.0:8702", "127.0.0.1:8701")


def test_without_a_trial_there_are_no_arms() -> None:
    assert config(Serving(CHAMPION)).arms == ()
