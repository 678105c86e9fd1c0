"""What the room's processes say on standard error: where something went wrong and of which kind, never an error's text.

The text of an unexpected error may hold what the error was about: a target, with a user's id in it. So it is left out
of every traceback, however it comes up: in a callback, a task, a thread, a finaliser, or at the end of the process.
Next module: `shadow.router.cli`, which asks for it.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from typing import Any, Final

logger = logging.getLogger(__name__)

_REPR: Final = re.compile(r"[\n<(]")
"""Where asyncio begins to say what a callback, a task or a transport looks like, arguments and all."""
_DEEPEST: Final = 8
"""So many errors of one chain are told."""


class Formatter(logging.Formatter):
    """Lines without the texts of errors."""

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        record.exc_text = None  # where another formatter keeps the whole text
        return super().format(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """The traceback of an error and of those that led to it."""
        return told(ei[1])

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """One line; of asyncio only the words."""
        if record.name == "asyncio":
            record.message = _REPR.split(record.message, maxsplit=1)[0].rstrip()
        return super().formatMessage(record)


def told(error: BaseException | None) -> str:
    """Where `error` and those that led to it were raised, and their types; of the system's errors also what it said."""
    parts: list[str] = []
    while error is not None and len(parts) < _DEEPEST:
        name = type(error).__name__
        said = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        parts.append("".join(traceback.format_tb(error.__traceback__)) + name + said)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n which came of\n".join(parts)


def log_to_stderr() -> None:
    """Lines on standard error from now on, and errors that nobody caught among them."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    sys.excepthook = lambda kind, error, trace: _ended(kind, error)  # noqa: ARG005 - the interpreter's
    threading.excepthook = lambda args: logger.error("a thread ended", exc_info=args.exc_value)
    sys.unraisablehook = lambda args: logger.error("an error that nobody could catch", exc_info=args.exc_value)


def _ended(kind: type[BaseException], error: BaseException) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, None)
    else:
        logger.critical("the process ends", exc_info=error)
