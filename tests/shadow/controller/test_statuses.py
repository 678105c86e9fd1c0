"""Conditions, and Events that are told once."""

from __future__ import annotations

import msgspec

from shadow.controller.conflicts import Kept
from shadow.controller.observed import Heard, Note, Observed
from shadow.controller.parts import Mirror
from shadow.controller.reconcile import reconcile
from shadow.controller.resource import Condition
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
