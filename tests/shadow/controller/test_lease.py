"""Two operators never act at once, whatever is late; the second takes over when the first is gone."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shadow.controller.lease import DURATION_SECONDS, MARGIN_SECONDS, Claim, labels_of
from shadow.controller.wire import Manifest

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Store:
    """The API server's part: one object, and a write that came too late is a conflict."""

    def __init__(self) -> None:
        self.object: Manifest | None = None
        self.version = 0

    def read(self) -> Manifest | None:
        return copy.deepcopy(self.object)

    def write(self, wish: Manifest) -> bool:
        known = wish["metadata"].get("resourceVersion")
        if known != (self.object and self.object["metadata"]["resourceVersion"]):
            return False
        self.version += 1
        self.object = copy.deepcopy(wish)
        self.object["metadata"]["resourceVersion"] = str(self.version)
        return True


class Operator:
    """One with a clock of its own, whose reads and writes take as long as they like."""

    def __init__(self, name: str, store: Store, clock: float, wall: float) -> None:
        self.claim, self.store = Claim(name, "shop"), store
        self.offset, self.wall = clock, timedelta(seconds=wall)
        self.wish: Manifest | None = None
        self.sent_at = 0.0
        self.taken = False

    def now(self, time: float) -> float:
        return time + self.offset

    def step(self, what: str, time: float) -> None:
        if what == "all":
            for each in ("read", "write", "answer"):
                self.step(each, time)
        elif what == "read":
            self.taken = False  # the answer to the attempt before was given up
            wall = EPOCH + timedelta(seconds=time) + self.wall
            self.wish = self.claim.wish(self.store.read(), self.now(time), wall)
            self.sent_at = self.now(time)
            if self.wish is None:
                self.claim.refused()
        elif what == "write" and self.wish is not None:
            self.taken = self.store.write(self.wish)
            self.wish = None
        elif what == "answer" and self.taken:
            self.claim.granted(self.sent_at)
            self.taken = False

    def acts(self, time: float) -> bool:
        return self.claim.left(self.now(time)) > 0


STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 1]),
        st.sampled_from(["read", "write", "answer", "all", "vanish"]),
        st.floats(0, 8) | st.sampled_from([0.0, MARGIN_SECONDS, float(DURATION_SECONDS)]),
    ),
    min_size=10,
    max_size=60,
)


@settings(max_examples=200)
@given(STEPS, st.floats(0, 1e6), st.floats(-1e5, 1e5))
def test_two_operators_never_act_at_once(steps: list[tuple[int, str, float]], clock: float, wall: float) -> None:
    store = Store()
    both = Operator("a", store, 0.0, 0.0), Operator("b", store, clock, wall)
    time = 1.0
    once = True
    for each in both:  # of a Lease that it never saw nobody can know
        each.step("all", time)
    for who, what, later in steps:
        time += later
        if what == "vanish":
            store.object = None if once else store.object
            once = False
        else:
            both[who].step(what, time)
        assert not all(each.acts(time) for each in both)


def alone(operator: Operator, time: float) -> bool:
    """One whole attempt without delay; whether it holds the lease then."""
    operator.step("all", time)
    return operator.acts(time)


def test_the_first_takes_it_and_the_second_waits() -> None:
    store = Store()
    first, second = Operator("a", store, 0.0, 0.0), Operator("b", store, 50.0, 0.0)
    assert alone(first, 1.0)
    assert not alone(second, 1.5)
    assert alone(first, 4.0)
    assert not alone(second, 5.0)


def test_who_made_the_lease_and_never_saw_it_since_knows_that_another_may_have_it() -> None:
    """Held up right after it, the other took over, and then somebody deleted the Lease."""
    store = Store()
    first, second = Operator("a", store, 0.0, 0.0), Operator("b", store, 0.0, 0.0)
    assert alone(first, 1.0)
    assert not alone(second, 1.0)
    assert alone(second, 13.0)
    store.object = None
    assert not alone(first, 13.0)
    assert not alone(first, 24.9)
    assert not second.acts(24.9)
    assert alone(first, 25.0)


def test_a_renewal_that_gets_no_answer_lets_it_run_out_before_the_other_may_begin() -> None:
    store = Store()
    first, second = Operator("a", store, 0.0, 0.0), Operator("b", store, 0.0, 0.0)
    assert alone(first, 1.0)
    assert not alone(second, 1.0)
    stops = 1.0 + DURATION_SECONDS - MARGIN_SECONDS
    assert first.acts(stops - 0.01)
    assert not first.acts(stops)
    assert not alone(second, 1.0 + DURATION_SECONDS - 0.01)
    assert alone(second, 1.0 + DURATION_SECONDS)


def test_an_answer_that_comes_late_counts_from_when_it_was_asked_for() -> None:
    store = Store()
    first, second = Operator("a", store, 0.0, 0.0), Operator("b", store, 0.0, 0.0)
    first.step("read", 1.0)
    first.step("write", 1.0)
    assert not alone(second, 1.0)
    first.step("answer", 8.0)
    assert first.acts(8.0)
    assert alone(second, 1.0 + DURATION_SECONDS)
    assert not first.acts(1.0 + DURATION_SECONDS)


def test_a_lease_that_was_given_back_is_taken_at_once() -> None:
    store = Store()
    first, second = Operator("a", store, 0.0, 0.0), Operator("b", store, 0.0, 0.0)
    assert alone(first, 1.0)
    store.object = None
    assert alone(second, 1.1)


def test_taking_over_counts_a_transition_and_renewing_keeps_the_time_of_acquiring() -> None:
    store = Store()
    first, second = Operator("a", store, 0.0, 0.0), Operator("b", store, 0.0, 0.0)
    alone(first, 1.0)
    acquired: Any = store.read()
    alone(first, 3.0)
    renewed: Any = store.read()
    assert renewed["spec"]["acquireTime"] == acquired["spec"]["acquireTime"] < renewed["spec"]["renewTime"]
    alone(second, 3.0)
    alone(second, 3.0 + DURATION_SECONDS)
    taken: Any = store.read()
    assert (renewed["spec"]["leaseTransitions"], taken["spec"]["leaseTransitions"]) == (0, 1)


def test_a_lease_that_somebody_deletes_is_made_anew_by_its_holder_and_by_another_only_in_time() -> None:
    store = Store()
    first, second = Operator("a", store, 0.0, 0.0), Operator("b", store, 50.0, 0.0)
    assert alone(first, 1.0)
    assert not alone(second, 1.5)
    store.object = None
    assert not alone(second, 2.0)
    assert alone(first, 3.0)
    assert not alone(second, 3.5)
    store.object = None
    assert not alone(second, 20.0)
    assert not alone(second, 20.0 + DURATION_SECONDS - 0.01)
    assert alone(second, 20.0 + DURATION_SECONDS)


def test_the_lease_bears_the_releases_label_and_goes_with_what_it_is_told() -> None:
    owner = {"ownerReferences": [{"kind": "Deployment", "name": "mine-operator", "uid": "u"}]}
    made = Claim("one_1", "shop", labels_of("mine") | owner).wish(None, 1.0, EPOCH)
    assert made is not None
    assert made["metadata"]["labels"]["app.kubernetes.io/instance"] == "mine"
    assert made["metadata"]["ownerReferences"] == owner["ownerReferences"]
    assert "app.kubernetes.io/instance" not in labels_of("")["labels"]
