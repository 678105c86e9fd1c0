"""Conditions, and Events that are told once."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from shadow.controller.conflicts import Kept
from shadow.controller.observed import Heard, Note, Observed
from shadow.controller.parts import Fraction, Mirror
from shadow.controller.reconcile import reconcile
from shadow.controller.resource import Condition, Status
from tests.shadow.controller.resources import CHALLENGER, PLATFORM
from tests.shadow.controller.test_reconcile import PRIMARY, named
from tests.shadow.controller.world import World


def condition(world: World, kind: str) -> Condition:
    return next(each for each in world.resource.status.conditions if each.type == kind)


def said(world: World, kind: str) -> tuple[str, str]:
    found = condition(world, kind)
    return found.status, found.reason


def settled() -> World:
    world = World(named())
    world.settle()
    return world


def on_trial() -> World:
    world = settled()
    world.change(model=CHALLENGER)
    world.settle()
    return world


def test_ready_says_that_the_primary_serves_whatever_the_shadow_does() -> None:
    world = settled()
    world.pods["recommender-shadow"] = False
    world.change(model=CHALLENGER)
    world.settle()
    assert said(world, "Ready") == ("True", "Serving")
    assert condition(world, "Ready").message == "2 of 2 pods serve."
    assert said(world, "ShadowReady") == ("False", "NotReady")
    assert "shadow (challenger:" in condition(world, "ShadowReady").message
    assert said(world, "Progressing") == ("True", "RollingOut")


def test_a_primary_without_pods_is_told_with_its_controllers_reason() -> None:
    world = settled()
    world.children[PRIMARY]["status"] = {
        "conditions": [{"type": "Progressing", "status": "False", "message": "quota exceeded"}]
    }
    outcome = world.outcome()
    ready = outcome.status.conditions[0]
    assert (ready.status, ready.reason, ready.message) == ("False", "NoPodReady", "quota exceeded")
    assert Note("Warning", "NotServing", "quota exceeded") in outcome.notes


def test_a_condition_keeps_its_time_until_it_flips() -> None:
    world = on_trial()
    since = condition(world, "ShadowReady").last_transition_time
    world.children["Deployment", "recommender-shadow"]["status"]["availableReplicas"] = 1
    world.change(mirror=Mirror(percent=3))
    world.settle()
    assert condition(world, "ShadowReady").last_transition_time == since
    assert condition(world, "ShadowReady").observed_generation == world.resource.metadata.generation
    world.pods["recommender-shadow"] = False
    world.settle()
    assert condition(world, "ShadowReady").last_transition_time > since


def test_a_condition_that_changes_its_reason_alone_keeps_its_time() -> None:
    world = settled()
    world.children[PRIMARY]["status"] = {"replicas": 2, "updatedReplicas": 2}
    world.resource = msgspec.structs.replace(world.resource, status=world.outcome().status)
    before = condition(world, "Ready")
    world.now += timedelta(seconds=5)
    del world.children[PRIMARY]
    after = world.outcome().status.conditions[0]
    assert (before.status, before.reason, after.status, after.reason) == ("False", "NoPodReady", "False", "Missing")
    assert after.last_transition_time == before.last_transition_time


def test_a_primary_that_was_scaled_to_none_is_told_with_the_way_back() -> None:
    world = settled()
    world.children[PRIMARY]["spec"]["replicas"] = 0
    world.children[PRIMARY]["status"] = {}
    ready = world.outcome().status.conditions[0]
    assert (ready.status, ready.reason) == ("False", "ScaledToZero")
    assert "scale it up" in ready.message


@pytest.mark.parametrize(
    "status",
    [
        {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2},
        {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 2},
        {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 2},
        {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1},
    ],
    ids=["not seen yet", "old pods end", "old pods serve", "new pods start"],
)
def test_a_rollout_is_under_way_until_all_pods_are_new_and_ready(status: dict[str, int]) -> None:
    world = settled()
    world.children[PRIMARY]["metadata"]["generation"] = 2
    world.children[PRIMARY]["status"] = status
    progressing = world.outcome().status.conditions[-1]
    assert (progressing.status, progressing.reason) == ("True", "RollingOut")
    world.children[PRIMARY]["status"] = {"observedGeneration": 2} | dict.fromkeys(list(status)[1:], 2)
    assert world.outcome().status.conditions[-1].reason == "Settled"


def test_no_text_is_longer_than_the_definition_lets_it_be() -> None:
    """The API server would refuse the whole status, and with it every number that routers wait for."""
    world = on_trial()
    world.routers = {"r": Heard("i", 0.0, refused=1, error="x" * 5_000)}
    seen = Observed(tuple(world.children.values()), world.routers, trouble="y" * 5_000)
    status = reconcile(world.resource, seen, world.now, PLATFORM).status
    assert msgspec.convert(msgspec.to_builtins(status), Status) == status
    assert len(status.routers.message) == 1_024


def test_the_status_is_about_the_generation_that_was_seen() -> None:
    world = on_trial()
    assert world.resource.status.observed_generation == world.resource.metadata.generation > 1


@pytest.mark.parametrize(
    ("mirror", "told"),
    [
        (Mirror(percent=37), "37"),
        (Mirror(fraction=Fraction(numerator=1, denominator=1_000_000)), "0.0001"),
        (Mirror(fraction=Fraction(numerator=123_456, denominator=1_000_000)), "12.3456"),
    ],
)
def test_the_share_is_told_as_it_is(mirror: Mirror, told: str) -> None:
    world = settled()
    world.change(model=CHALLENGER, mirror=mirror)
    world.settle()
    assert world.resource.status.percent == told


def test_events_say_in_words_what_happened_and_say_it_once() -> None:
    world = settled()
    world.change(model=CHALLENGER, mirror=Mirror(percent=10))
    world.settle()
    world.settle()
    assert [note.reason for note in world.notes] == ["Primary", "Serving", "ShadowStarted", "ShadowReady"]
    assert world.notes[2].text == (
        "challenger:5708e43f2a27 is the shadow: 10 % of the users' requests are copied to it, "
        "champion:336f13f24e56 goes on answering."
    )


def test_a_pause_and_its_end_are_told() -> None:
    world = on_trial()
    world.notes.clear()
    world.change(paused=True)
    world.settle()
    world.change(paused=False)
    world.settle()
    assert [note.reason for note in world.notes] == ["Paused", "Resumed"]


def test_routers_that_are_behind_and_what_they_refuse_are_told() -> None:
    world = on_trial()
    generation = world.resource.status.routers.generation
    world.routers = {
        "r1": Heard("i", 0.0, accepted=generation),
        "r2": Heard("i", 0.0, refused=generation, error="listen: no"),
    }
    outcome = world.outcome()
    routers = outcome.status.routers
    assert (routers.connected, routers.current, routers.message) == (2, 1, "r2: listen: no")
    progressing = outcome.status.conditions[-1]
    assert (progressing.status, progressing.reason) == ("True", "RoutersBehind")
    assert outcome.notes == (Note("Warning", "ConfigurationRefused", "r2: listen: no"),)
    world.resource = msgspec.structs.replace(world.resource, status=outcome.status)
    assert world.outcome().notes == ()


def test_what_is_kept_by_hand_is_told_with_the_way_back_and_once() -> None:
    world = settled()
    kept = (Kept("Deployment", "recommender-primary", ".spec.template.spec.x", "kubectl-edit"),)
    seen = Observed(tuple(world.children.values()), {}, kept)
    outcome = reconcile(world.resource, seen, world.now, PLATFORM)
    progressing = outcome.status.conditions[-1]
    assert (progressing.status, progressing.reason) == ("False", "KeptByHand")
    assert "kubectl -n shop annotate deployment recommender-primary understudy.dev/take-back=yes" in progressing.message
    assert [note.reason for note in outcome.notes] == ["KeptByHand"]
    world.resource = msgspec.structs.replace(world.resource, status=outcome.status)
    assert reconcile(world.resource, seen, world.now, PLATFORM).notes == ()


def test_further_fields_that_are_kept_by_hand_are_counted() -> None:
    world = settled()
    kept = tuple(Kept("Service", "recommender", f".spec.{field}", "kubectl-edit") for field in ("type", "a", "b"))
    outcome = reconcile(world.resource, Observed(tuple(world.children.values()), {}, kept), world.now, PLATFORM)
    assert "kubectl-edit keeps .spec.type and 2 more," in outcome.status.conditions[-1].message


def test_replicas_of_somebody_else_are_no_hindrance_but_are_told() -> None:
    world = settled()
    kept = (Kept("Deployment", "recommender-primary", ".spec.replicas", "kubectl"),)
    seen = Observed(tuple(world.children.values()), {}, kept)
    outcome = reconcile(world.resource, seen, world.now, PLATFORM)
    progressing = outcome.status.conditions[-1]
    assert (progressing.status, progressing.reason) == ("False", "Settled")
    assert "kubectl sets the replicas of recommender-primary" in progressing.message
    assert outcome.notes == ()


def test_what_the_api_server_refused_is_told() -> None:
    world = settled()
    seen = Observed(tuple(world.children.values()), trouble="patch …: 403 services is forbidden")
    outcome = reconcile(world.resource, seen, world.now, PLATFORM)
    assert outcome.status.conditions[-1].reason == "ApplyFailed"
    assert outcome.notes == (Note("Warning", "ApplyFailed", "patch …: 403 services is forbidden"),)
