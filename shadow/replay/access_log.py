"""Requests from a web server's access log: the Combined Log Format of Apache and nginx.

https://httpd.apache.org/docs/2.4/logs.html#combined; nginx writes the same by default. What can be asked again without
changing anything is replayed, GET, and the rest is counted. Next module: `shadow.replay.pair_log`.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Final

from shadow.replay.requests import Recorded, ReplayError, told

LINE: Final = re.compile(r'\S+ \S+ .*?\[(?P<time>[^\]]+)\] "(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}|-)')


def read_access_log(path: Path, prefix: str = "/") -> tuple[list[Recorded], Counter[str]]:
    """(requests ascending in time, what was left out and how often) of the log at `path`.

    Kept are GETs whose target begins with `prefix`. A server writes a line when the answer has left, so lines are put
    in order; several in one second keep theirs. `ReplayError` when no line is one of this format.
    """
    found: list[Recorded] = []
    left_out: Counter[str] = Counter()
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            each = _request(line, prefix)
            if isinstance(each, str):
                left_out[each] += 1
            else:
                found.append(each)
    if not found:
        reason = told(left_out, "it is empty")
        raise ReplayError(f"{path}: no GET of {prefix}… in the Combined Log Format there ({reason})")
    found.sort(key=lambda request: request.event_time_us)
    return found, left_out


def _request(line: str, prefix: str) -> Recorded | str:
    """The request of one line, or why there is none."""
    match = LINE.match(line)
    if match is None:
        return "not in the Combined Log Format"
    method, _, rest = match["request"].partition(" ")
    target = rest.rpartition(" ")[0]
    if method != "GET":
        return "not a GET"
    if not target.startswith(prefix):
        return f"not under {prefix}"
    try:
        at = datetime.strptime(match["time"], "%d/%b/%Y:%H:%M:%S %z")
        return Recorded(int(at.timestamp()) * 1_000_000, target=target)
    except ValueError:
        return "not in the Combined Log Format"
