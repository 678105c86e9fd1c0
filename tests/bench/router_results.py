"""The file of a bench's cells: written after each, so that what was measured outlives whatever ends the run.

A cell is one measurement under a name like `cpu/mirror/nginx/2` (measurement, what, who, round). A run measures the
cells that it was asked for anew, or with `keep` only those that are missing; tables are made from the whole file.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Final

from training.run_facts import commit

Cell = dict[str, Any]
LOUD: Final = 0.05
"""A cell is named when others had more of the proxy's core than this."""
SHOWN: Final = 12


class Results:
    """The cells in `path`."""

    def __init__(self, path: Path, keep: bool = False) -> None:
        self.path = path
        self._keep = keep
        self._commit = commit()
        self._cells: dict[str, Cell] = json.loads(path.read_text()) if path.exists() else {}

    def measured(self, name: str, measure: Callable[[], Cell]) -> Cell:
        """The cell `name`: as it is in the file when cells are kept, else measured now and written at once."""
        if self._keep and name in self._cells:
            return self._cells[name]
        started = time.time()
        print(f"{time.strftime('%H:%M:%S')} {name} …", end=" ", file=sys.stderr, flush=True)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        about = {"commit": self._commit, "at": now, "python": platform.python_version()}
        self._cells[name] = measure() | about
        self._write()
        print(f"{time.time() - started:.0f} s", file=sys.stderr, flush=True)
        return self._cells[name]

    def forget(self, prefix: str) -> None:
        """Drop the cells of that measurement, unless cells are kept: fewer rounds than last time leave none behind."""
        if not self._keep:
            self._cells = {name: cell for name, cell in self._cells.items() if not name.startswith(prefix)}

    def rounds(self, prefix: str) -> list[Cell]:
        """The cells `prefix/1`, `prefix/2` and so on, in the order of their rounds."""
        found = {
            int(name.rpartition("/")[2]): cell
            for name, cell in self._cells.items()
            if name.rpartition("/")[0] == prefix
        }
        return [found[number] for number in sorted(found)]

    def get(self, name: str) -> Cell | None:
        """One cell, if it was measured."""
        return self._cells.get(name)

    def origin(self, prefix: str) -> str:
        """Where the cells of a measurement come from, commits and Python, how long answers were, how quiet it was."""
        cells = {name: cell for name, cell in self._cells.items() if name.startswith(prefix)}
        commits = sorted({cell["commit"] for cell in cells.values()})
        pythons = sorted({cell["python"] for cell in cells.values() if "python" in cell})
        by = f", Python {' and '.join(pythons)}" if pythons else ""
        sizes = " and ".join(sorted({"1 KB" if cell.get("large") else "170 bytes" for cell in cells.values()}))
        others = {name: cell["others"] for name, cell in cells.items() if "others" in cell}
        text = f"{len(cells)} cells at {', '.join(commits)}{by}; answers of {sizes}."
        if others:
            loud = [name for name, share in others.items() if share > LOUD]
            text += (
                f" Of the proxy's core others had {median(others.values()):.1%} in the median and at most "
                f"{max(others.values()):.1%}; more than {LOUD:.0%} in {len(loud)} cells"
                f"{': ' + ', '.join(loud[:SHOWN]) if loud else ''}{', …' if len(loud) > SHOWN else ''}."
            )
        return text

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self._cells, indent=1) + "\n")
        part.replace(self.path)
