"""The Events, in plain words: pure.

Each follows from the step between the status that was and the one that is written, so it is told once, over restarts
too. Next module: `shadow.controller.handlers`.
"""

from __future__ import annotations

from shadow.controller.observed import Note
from shadow.controller.parts import Version
from shadow.controller.resource import Condition, Status


def notes_of(before: Status, status: Status) -> tuple[Note, ...]:
    """The Events of the step from one status to the next."""
    notes = [*_of_versions(before, status), *_of_flips(before, status)]
    if before.phase and before.phase != status.phase and "Paused" in (before.phase, status.phase):
        paused = status.phase == "Paused"
        notes.append(
            Note("Normal", "Paused", "Nothing is copied while spec.paused is true; the primary serves.")
            if paused
            else Note("Normal", "Resumed", "Requests are copied again.")
        )
    if status.routers.message and status.routers.message != before.routers.message:
        notes.append(Note("Warning", "ConfigurationRefused", status.routers.message))
    return (*notes, *_of_hindrances(before, status))


def _of_hindrances(before: Status, status: Status) -> list[Note]:
    was, now = _condition(before, "Progressing"), _condition(status, "Progressing")
    if now is None or now.reason not in ("KeptByHand", "ApplyFailed"):
        return []
    known = was is not None and (was.reason, was.message) == (now.reason, now.message)
    return [] if known else [Note("Warning", now.reason, now.message)]


def _of_versions(before: Status, status: Status) -> list[Note]:
    notes = []
    if before.primary is None and status.primary is not None:
        notes.append(Note("Normal", "Primary", f"{status.primary.bento} is the primary."))
    if status.shadow is not None and _bento(status.shadow) != _bento(before.shadow):
        text = f"{status.shadow.bento} is the shadow: {status.percent} % of the users' requests are copied to it, "
        notes.append(Note("Normal", "ShadowStarted", f"{text}{_bento(status.primary)} goes on answering."))
    elif before.shadow is not None and status.shadow is None:
        notes.append(Note("Normal", "ShadowEnded", f"{before.shadow.bento} is no shadow any more."))
    return notes


def _of_flips(before: Status, status: Status) -> list[Note]:
    notes = []
    for kind, up, down in (("Ready", "Serving", "NotServing"), ("ShadowReady", "ShadowReady", "ShadowNotReady")):
        was, now = _condition(before, kind), _condition(status, kind)
        if now is None or was is None or was.status == now.status or now.reason == "NoShadow":
            continue
        if now.status == "True":
            notes.append(Note("Normal", up, now.message))
        else:
            notes.append(Note("Warning", down, now.message))
    return notes


def _bento(version: Version | None) -> str:
    return version.bento if version is not None else ""


def _condition(status: Status, kind: str) -> Condition | None:
    return next((each for each in status.conditions if each.type == kind), None)
