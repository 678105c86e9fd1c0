"""Whatever becomes of the shadow, users are answered: load by a client that does not retry, and no failure."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

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
    until(lambda: "CrashLoopBackOff" in waiting(stand), 120, "the shadow crashes")


def unpullable(stand: Stand) -> None:
    patched(stand, {"image": "nowhere.invalid/challenger:0"})
    until(lambda: waiting(stand) & {"ErrImagePull", "ImagePullBackOff"}, 120, "the image is not there")


def out_of_memory(stand: Stand) -> None:
    patched(stand, {"resources": {"requests": {"memory": "48Mi"}, "limits": {"memory": "48Mi"}}})
    until(lambda: "OOMKilled" in waiting(stand), 120, "the shadow is out of memory")


def stopped(stand: Stand) -> None:
    """It takes connections and never answers."""
    (pod,) = stand.pods("shadow")
    name = pod["metadata"]["name"]
    stand.kubectl("exec", name, "--container", "bento", "--", "python", "-c", STOP)


@pytest.mark.parametrize("fault", [killed, crash_looping, unpullable, out_of_memory, stopped])
def test_users_do_not_notice_a_shadow_that_is(stand: Stand, fault: Callable[[Stand], None]) -> None:
    stand.play("shadow", replicas=1)
    stand.open()
    stand.ready("primary", "shadow")
    with Traffic(stand.kind.port) as traffic:
        pause(2)
        fault(stand)
        pause(5)
    print(f"{fault.__name__}: {traffic.sent} requests")
    assert not traffic.failed, traffic.told()
    (pod,) = stand.pods("primary")
    assert {each["restartCount"] for each in pod["status"]["initContainerStatuses"]} == {0}
    assert [each["restartCount"] for each in pod["status"]["containerStatuses"]] == [0]
