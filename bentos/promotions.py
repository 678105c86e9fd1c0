"""Moving an alias so that of two promotions at once one wins, and the other is told by whom it lost.

A promotion is a record in the log (`bentos.promotion_log`); if it counts, the alias follows. What stops in between is
seen by the next reader and finished by the next writer. Next module: `training.models_cli`.
"""

from __future__ import annotations

import getpass
import os
import socket
import uuid

from bentos.appending import ATTEMPTS, append
from bentos.errors import PromotionLostError, RegistryError
from bentos.promotion_log import LOG, PROMOTE, ROLLBACK, PromotionLog, Record
from bentos.registry import MODEL, Registry, checked


class Promotions:
    """The promotions of one registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def read(self, seen: PromotionLog | None = None) -> PromotionLog:
        """The log as it is now; of what is in `seen` nothing is read again, for records do not change."""
        known = seen.versions if seen else []
        return PromotionLog.of(known + await self._registry.versions(LOG, known[-1].number if known else 0))

    async def promote(
        self, alias: str, to: int, by: str, reason: str = "", expected: int | None = None
    ) -> Record | None:
        """Move `alias` to the version numbered `to`; None when the log has it there already (the alias follows then).

        `expected` is the version that it must be at. `PromotionLostError` when another promotion was first: then this
        one moved nothing.
        """
        log, current = await self._now(alias, expected)
        if current == to:
            await self._settle(alias, log)
            return None
        return await self._append(log, alias, PROMOTE, current, to, by, reason)

    async def rollback(self, alias: str, by: str, reason: str = "", expected: int | None = None) -> Record:
        """Undo the last move of `alias` that is not undone yet; the next time the one before: no toggle.

        Errors as for `promote`, and when there is nothing to go back to.
        """
        log, current = await self._now(alias, expected)
        line = log.line(alias)
        remedy = "Say which is to follow: understudy models promote VERSION."
        if len(line) < 2:
            raise self._registry.error(f"no version before the current one is recorded for the alias {alias}", remedy)
        try:
            return await self._append(log, alias, ROLLBACK, current, line[-2], by, reason)
        except RegistryError as error:
            if not error.missing:
                raise
            raise self._registry.error(f"version {line[-2]}, the one before, was deleted", remedy) from error

    async def _now(self, alias: str, expected: int | None) -> tuple[PromotionLog, int | None]:
        """The log, and the version that `alias` is at by it, or by the registry when it was never moved here."""
        log = await self._trusted()
        last = log.last(checked(alias))
        current = last.to if last else (await self._registry.aliases()).get(alias)
        if expected is not None and current != expected:
            at = "is not set" if current is None else f"is at version {current}"
            told = f" ({last.told})" if last else ""
            raise PromotionLostError(f"{alias} {at}, not at version {expected}{told}. Nothing was moved; decide anew.")
        return log, current

    async def _append(
        self, log: PromotionLog, alias: str, action: str, origin: int | None, to: int, by: str, reason: str
    ) -> Record:
        """Write a record; when it counts, let the alias follow, else tell who was first."""
        last = log.last(alias)
        after = last.number if last else 0
        tags = {"alias": alias, "action": action, "to": str(to), "by": by, "after": str(after)}
        tags |= {"reason": reason} if reason else {}
        tags |= {"from": str(origin)} if origin is not None else {}
        log, mine = await self._written(log, tags | {"nonce": uuid.uuid4().hex})
        if not mine.counts:
            first = next(each for each in log.counted(alias) if each.number > after)
            raise PromotionLostError(f"lost: {first.told}, before you. Nothing of yours is in force; decide anew.")
        try:
            await self._settle(alias, log)
        except RegistryError as error:
            problem = f"record {mine.number} moves {alias} to version {to}, but the alias does not follow yet: "
            remedy = f"To finish it: understudy models promote {to} --alias {alias}"
            raise self._registry.error(problem + error.problem, remedy) from error
        return mine

    async def _written(self, log: PromotionLog, tags: dict[str, str]) -> tuple[PromotionLog, Record]:
        """Append a record and read it back.

        An answer can be lost, or the registry busy: then the log tells whether the record is in it. Writing it again
        is harmless, for of two with the same `after` only the first can count.
        """
        found, failed = await append(lambda: self._write(tags), lambda: self._find(log, tags), again_unanswered=False)
        if found is None:
            raise self._unknown(tags, failed.problem if failed else f"{LOG} does not show the record that it took")
        return found

    async def _write(self, tags: dict[str, str]) -> None:
        """Write a record. The source makes the registry refuse a version it has not."""
        if tags["after"] == "0":
            await self._registry.ensure_model(LOG)
        await self._registry.create_version(LOG, f"models:/{MODEL}/{tags['to']}", tags)

    async def _find(self, log: PromotionLog, tags: dict[str, str]) -> tuple[PromotionLog, Record] | None:
        """The record with the nonce of `tags`, and the log that has it; None when it is not there."""
        try:
            log = await self._trusted(log)
        except RegistryError as error:
            raise self._unknown(tags, error.problem) from error
        found = [each for each in log.records if each.nonce == tags["nonce"]]
        return (log, next((each for each in found if each.counts), found[0])) if found else None

    def _unknown(self, tags: dict[str, str], problem: str) -> RegistryError:
        remedy = "See understudy models list"
        if "from" in tags:
            remedy += f", or repeat the command with --from {tags['from']}: that moves it at most once"
        return self._registry.error(f"whether {tags['alias']} was moved is not known: {problem}", f"{remedy}.")

    async def _settle(self, alias: str, log: PromotionLog) -> None:
        """Let `alias` follow the log, which was `log` a moment ago, until the two agree.

        A winner may set the alias late, after the next winner. Each of them looks again after setting it, so the
        last one to set it has seen the log that it agrees with.
        """
        for _ in range(ATTEMPTS):
            last = log.last(alias)
            if last is None or (await self._registry.aliases()).get(alias) == last.to:
                return
            await self._registry.set_alias(alias, last.to)
            log = await self._trusted(log)
        raise self._registry.error(f"the alias {alias} does not stay where the log says", "Something else moves it.")

    async def _trusted(self, seen: PromotionLog | None = None) -> PromotionLog:
        log = await self.read(seen)
        if log.hole:
            problem = f"record {log.hole} of {LOG} was deleted, so nobody can say who won; the aliases stay as they are"
            raise self._registry.error(problem, f"Delete the registered model {LOG} to begin a new log from them.")
        return log


def whoami() -> str:
    """user@host of this process: by whom a promotion is, when nobody says so."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no such user: a container with a number only
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
