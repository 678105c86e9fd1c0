"""What the pure part decides: it settles from anywhere, and nothing about a shadow reaches production."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow.controller.children import children
from shadow.controller.objects import ref_of
from shadow.controller.observed import Heard
from shadow.controller.parts import Control, Mirror, Shadow, Version
from shadow.controller.reconcile import is_production
from shadow.controller.resource import Serving, ShadowDeployment, Status
from tests.shadow.controller.resources import CHALLENGER, CHAMPION, ON_TRIAL, PLATFORM, SHADOW, document, resource
from tests.shadow.controller.world import World, live

OTHER = Version(name="other", bento="other:aaaaaaaaaaaa", image="other:aaaaaaaaaaaa")
VERSIONS = st.sampled_from([CHAMPION, CHALLENGER, OTHER])
PRIMARY = ("Deployment", "recommender-primary")
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "model": VERSIONS,
        "paused": st.booleans(),
        "mirror": st.integers(0, 100).map(lambda percent: Mirror(percent=percent)),
        "control": st.sampled_from([Control(), Control(percent=0), Control(percent=5)]),
        "shadows": st.sampled_from([(), (Shadow(name="extra", model=OTHER),)]),
    },
)


def named(**metadata: Any) -> ShadowDeployment:
    found = resource()
    return msgspec.structs.replace(
        found, metadata=msgspec.structs.replace(found.metadata, uid="u-1", generation=1, **metadata)
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Children that are missing, old, from another trial, changed by hand, or somebody else's; any status."""
    found = []
    for child in children(named(), draw(st.sampled_from([ON_TRIAL, Serving(CHALLENGER, (SHADOW,))])), PLATFORM):
        state = draw(st.sampled_from(["missing", "there", "changed", "foreign", "going"]))
        there = live(child, {"metadata": {"uid": ref_of(child).name}})
        if state == "changed":
            there["metadata"]["annotations"]["understudy.dev/spec-hash"] = "old"
            there.get("spec", {})["replicas"] = 7
        elif state == "foreign":
            there["metadata"]["managedFields"] = [{"manager": "kubectl", "operation": "Update"}]
        elif state == "going":
            there["metadata"]["deletionTimestamp"] = "2026-11-30T12:00:00Z"
        if state != "missing":
            found.append(there)
    stray = live(
        {"kind": "PodDisruptionBudget", "metadata": {"name": "recommender-old", "labels": {}}},
        {"metadata": {"uid": "stray"}},
    )
    world = World(named(), (*found, *([stray] if draw(st.booleans()) else [])))
    primary = draw(st.none() | VERSIONS)
    world.resource = msgspec.structs.replace(world.resource, status=Status(primary=primary))
    world.change(**draw(CHANGES))
    return world


def gone(world: World) -> None:
    """What the API server was deleting is gone."""
    for key, child in list(world.children.items()):
        if "deletionTimestamp" in child["metadata"]:
            del world.children[key]


@settings(max_examples=60)
@given(worlds())
def test_it_settles_from_anywhere_and_a_second_time_there_is_nothing_to_do(world: World) -> None:
    world.step()
    gone(world)
    world.settle()
    again = world.outcome()
    assert (again.status, again.delete, again.notes) == (world.resource.status, (), ())
    foreign = {
        key for key, child in world.children.items() if child["metadata"]["managedFields"][0]["manager"] == "kubectl"
    }
    assert world.children.keys() - foreign == {ref_of(child).key for child in again.apply} - foreign


@settings(max_examples=60)
@given(worlds(), st.lists(CHANGES, max_size=4))
def test_no_change_of_a_shadow_touches_production(world: World, changes: list[dict[str, Any]]) -> None:
    world.step()
    gone(world)
    world.settle()
    template, serves = world.children[PRIMARY]["spec"]["template"], world.resource.status.primary
    for change in changes:
        world.change(**change)
        found = world.step()
        assert not [ref for ref in found.delete if ref.key == PRIMARY or ref.key == ("Service", "recommender")]
        world.settle()
        assert world.children[PRIMARY]["spec"]["template"] == template
        assert world.resource.status.primary == serves


def test_the_first_model_serves_at_once_and_the_next_is_the_shadow() -> None:
    world = World(named())
    world.settle()
    assert (world.resource.status.primary, world.resource.status.phase) == (CHAMPION, "Serving")
    world.change(model=CHALLENGER)
    world.settle()
    status = world.resource.status
    assert (status.primary, status.shadow, status.phase) == (CHAMPION, CHALLENGER, "Shadowing")
    images = {
        key[1]: child["spec"]["template"]["spec"]["containers"][0]["image"]
        for key, child in world.children.items()
        if key[0] == "Deployment"
    }
    assert images == {
        "recommender-primary": CHAMPION.image,
        "recommender-shadow": CHALLENGER.image,
        "recommender-control": CHAMPION.image,
    }


def test_a_trial_that_is_taken_back_leaves_the_primary_alone() -> None:
    world = World(named())
    world.settle()
    alone = copy.deepcopy(world.children)
    world.change(model=CHALLENGER)
    world.settle()
    world.change(model=CHAMPION)
    world.settle()
    assert world.children == alone


def test_without_a_control_none_is_deployed() -> None:
    world = World(named())
    world.settle()
    world.change(model=CHALLENGER, control=Control(percent=0))
    world.settle()
    assert ("Deployment", "recommender-control") not in world.children


@pytest.mark.parametrize("policy", ["Orphan", "Delete"])
def test_deleting_the_resource_leaves_production_unless_the_policy_says_otherwise(policy: Any) -> None:
    world = World(named())
    world.change(deletion_policy=policy)
    world.settle()
    world.change(model=CHALLENGER)
    world.settle()
    template = world.children[PRIMARY]["spec"]["template"]
    world.remove()
    world.step()
    assert not world.released
    world.step()
    assert world.released
    if policy == "Delete":
        assert world.children == {}
        return
    assert world.children[PRIMARY]["spec"]["template"] == template
    assert ("Service", "recommender") in world.children
    assert not [key for key in world.children if key[1].endswith(("-shadow", "-control"))]
    assert not world.outcome().config.arms


def test_a_resource_that_is_deleted_waits_for_its_routers_but_not_for_ever() -> None:
    world = World(named())
    world.settle()
    world.change(model=CHALLENGER)
    world.settle()
    world.routers = {"r": Heard("i", 0.0)}
    world.remove()
    world.step()
    world.routers["r"].accepted = 0
    assert not world.outcome().release
    world.routers["r"].accepted = world.resource.status.routers.generation
    assert world.outcome().release
    world.routers["r"].accepted = 0
    for _ in range(16):
        world.now = world.now.replace(second=world.now.second + 1)
    assert world.outcome().release


def test_a_resource_does_not_vanish_while_production_would_be_collected_with_it() -> None:
    """The policy was Delete, and the change to Orphan could not be applied: somebody keeps the Deployment by hand."""
    world = World(named())
    world.change(deletion_policy="Delete")
    world.settle()
    owned = copy.deepcopy(world.children[PRIMARY])
    assert owned["metadata"]["ownerReferences"]
    world.change(deletion_policy="Orphan")
    world.remove()
    world.step()
    world.children[PRIMARY] = owned
    assert not world.outcome().release
    world.step()
    world.step()
    assert world.released


def test_a_new_resource_finds_the_production_that_another_left_and_does_not_replace_it() -> None:
    world = World(named())
    world.settle()
    world.remove()
    world.step()
    world.step()
    again = World(named(), tuple(world.children.values()))
    again.change(model=CHALLENGER)
    again.settle()
    assert (again.resource.status.primary, again.resource.status.shadow) == (CHAMPION, CHALLENGER)


def test_an_image_set_by_hand_is_not_taken_for_the_version_that_serves() -> None:
    """What serves is what status says; only where that was lost is it what is found to run."""
    world = World(named())
    world.settle()
    world.children[PRIMARY]["spec"]["template"]["spec"]["containers"][0]["image"] = "by-hand:1"
    assert world.outcome().status.primary == CHAMPION


def test_a_version_is_its_bento_and_its_image_and_a_name_is_a_label() -> None:
    world = World(named())
    world.settle()
    world.change(model=msgspec.structs.replace(CHAMPION, name="another-name"))
    assert world.outcome().status.shadow is None
    for other in ({"image": "champion:rebuilt"}, {"bento": "champion:rebuilt"}):
        world.change(model=msgspec.structs.replace(CHAMPION, **other))
        assert world.outcome().status.shadow == world.resource.spec.model


def test_a_further_shadow_alone_has_a_control_too() -> None:
    world = World(named())
    world.change(shadows=(Shadow(name="extra", model=OTHER),))
    world.settle()
    names = {key[1] for key in world.children if key[0] == "Deployment"}
    assert names == {"recommender-primary", "recommender-control", "recommender--extra"}
    assert world.resource.status.phase == "Shadowing"


def test_a_generation_is_new_exactly_when_the_configuration_is() -> None:
    world = World(named())
    world.settle()
    first = world.resource.status.routers.generation
    world.change(mirror=Mirror(percent=7))
    world.settle()
    assert world.resource.status.routers.generation == first  # nothing is copied, so nothing changed
    world.change(model=CHALLENGER)
    world.settle()
    second = world.resource.status.routers.generation
    world.change(mirror=Mirror(percent=8))
    world.settle()
    third = world.resource.status.routers.generation
    assert first < second < third


def test_a_generation_is_above_all_former_ones_when_the_status_was_lost_or_the_clock_set_back() -> None:
    world = World(named())
    world.settle()
    first = world.resource.status.routers.generation
    lost = World(named())
    lost.now = world.now
    lost.settle()
    assert lost.resource.status.routers.generation > first
    world.now = world.now.replace(year=2000)
    world.change(model=CHALLENGER)
    world.settle()
    assert world.resource.status.routers.generation == first + 1


def test_paused_copies_nothing_and_the_pods_stay() -> None:
    world = World(named())
    world.settle()
    world.change(model=CHALLENGER, paused=True)
    world.settle()
    assert world.outcome().config.mode == "off"
    assert world.resource.status.phase == "Paused"
    assert ("Deployment", "recommender-shadow") in world.children


def test_what_somebody_else_made_with_our_labels_is_not_deleted() -> None:
    world = World(named())
    world.settle()
    theirs: Any = live({"kind": "Service", "metadata": {"name": "theirs", "labels": {}}}, {"metadata": {"uid": "t"}})
    theirs["metadata"]["managedFields"] = [{"manager": "kubectl", "operation": "Update"}]
    world.children["Service", "theirs"] = theirs
    assert world.step().delete == ()


def test_what_is_going_already_is_not_deleted_once_more() -> None:
    world = World(named())
    world.settle()
    world.change(model=CHALLENGER)
    world.settle()
    world.change(model=CHAMPION)
    going = world.outcome().delete
    assert going
    for reference in going:
        world.children[reference.key]["metadata"]["deletionTimestamp"] = "2026-11-30T12:00:00Z"
    assert world.outcome().delete == ()


def test_what_goes_with_the_resource_by_its_policy_may_be_owned_by_it() -> None:
    """What has a deletionTimestamp is not deleted again, and waits for nobody: the resource may go before it."""
    world = World(named())
    world.change(deletion_policy="Delete")
    world.settle()
    world.remove()
    for child in world.children.values():
        child["metadata"]["deletionTimestamp"] = "2026-11-30T12:00:00Z"
    assert world.outcome().release


def test_production_is_what_serves_users() -> None:
    found = {ref_of(child).key for child in children(named(), ON_TRIAL, PLATFORM) if is_production(child)}
    assert found == {PRIMARY, ("Service", "recommender")}


def test_a_status_survives_the_way_over_the_api_server() -> None:
    world = World(named())
    world.change(model=CHALLENGER)
    world.settle()
    there = msgspec.json.decode(msgspec.json.encode(world.resource.status))
    read = msgspec.convert(document() | {"status": there}, ShadowDeployment)
    assert read.status == world.resource.status
