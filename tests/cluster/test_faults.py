"""Whatever becomes of the shadow, users are answered: load by a client that does not retry, and no failure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from shadow.contracts import PAIRED
from tests.cluster.kind_cluster import Stand, until
from tests.cluster.traffic import Traffic, pause

pytestmark = [pytest.mark.timeout(1_200), pytest.mark.xdist_group("kind")]
SHADOW = "recommender-shadow"
STOP = """\
import os, signal
for process in os.listdir("/proc"):
    if process.isdigit() and int(process) not in (1, os.getpid()):
        os.kill(int(process), signal.SIGSTOP)
"""
"""The first process of a container cannot be stopped from inside; all that work for it can."""


def waiting(stand: Stand) -> set[str]:
    """Why containers of the shadow do not run, and how they ended."""
    states = [
        state
        for pod in stand.pods("shadow")
        for container in pod["status"].get("containerStatuses", ())
        for state in (*container["state"].values(), *container.get("lastState", {}).values())
    ]
    return {state["reason"] for state in states if "reason" in state}


def patched(stand: Stand, container: dict[str, object]) -> None:
    """Change the shadow's bento."""
    spec = {"template": {"spec": {"containers": [{"name": "bento", **container}]}}}
    change = {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}, **spec}}
    stand.kubectl("patch", "deployment", SHADOW, "--patch", json.dumps(change))


def killed(stand: Stand) -> None:
    stand.kubectl("delete", "pod", "--selector", "understudy.dev/arm=shadow", "--grace-period=0", "--force")


def crash_looping(stand: Stand) -> None:
    patched(stand, {"command": ["sh", "-c", "exit 3"]})
    until(lambda: "CrashLoopBackOff" in waiting(stand), 240, "the shadow crashes")


def unpullable(stand: Stand) -> None:
    patched(stand, {"image": "nowhere.invalid/challenger:0"})
    until(lambda: waiting(stand) & {"ErrImagePull", "ImagePullBackOff"}, 240, "the image is not there")


def out_of_memory(stand: Stand) -> None:
    patched(stand, {"resources": {"requests": {"memory": "48Mi"}, "limits": {"memory": "48Mi"}}})
    until(lambda: "OOMKilled" in waiting(stand), 240, "the shadow is out of memory")


def stopped(stand: Stand) -> None:
    """It takes connections and never answers."""
    (pod,) = stand.pods("shadow")
    name = pod["metadata"]["name"]
    stand.kubectl("exec", name, "--container", "bento", "--", "python", "-c", STOP)


@pytest.fixture(scope="module")
def served(shared_stand: Stand) -> Stand:
    """Primary and shadow, with a way to them."""
    played(shared_stand)
    shared_stand.ready("primary")
    return shared_stand


@pytest.fixture
def trial(served: Stand) -> Iterator[Stand]:
    """With a shadow as it should be; whatever the test makes of it goes with it."""
    served.ready("shadow")
    yield served
    served.kubectl("delete", "deployment", SHADOW)
    played(served)


def played(stand: Stand) -> None:
    """Apply all, and have a way to it."""
    stand.play("shadow", replicas=1)
    stand.open()


def copies(stand: Stand) -> Counter[str]:
    """What became of the shadow's, so far."""
    (router,) = stand.counters()
    return Counter(router.arms["shadow"].outcomes)


@pytest.mark.parametrize("fault", [killed, crash_looping, unpullable, out_of_memory, stopped])
def test_users_do_not_notice_a_shadow_that_is(trial: Stand, fault: Callable[[Stand], None]) -> None:
    before = copies(trial)
    with Traffic(trial.kind.port) as traffic:
        until(lambda: copies(trial)[PAIRED] > before[PAIRED], 120, "copies are answered, whatever was before")
        whole = copies(trial)
        fault(trial)
        until(lambda: set(copies(trial) - whole) - {PAIRED}, 120, "copies are not answered any more")
        pause(5)
    told = copies(trial) - before
    print(f"{fault.__name__}: {traffic.sent} requests; copies: {dict(told)}")
    assert not traffic.failed, traffic.told()
    (pod,) = trial.pods("primary")
    assert {each["restartCount"] for each in pod["status"]["initContainerStatuses"]} == {0}
    assert [each["restartCount"] for each in pod["status"]["containerStatuses"]] == [0]
