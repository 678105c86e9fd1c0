"""The file of a bench's cells: written after each, so that what was measured outlives whatever ends the run.

A cell is one measurement under a name like `cpu/mirror/nginx/2` (measurement, what, who, round). A run measures the
cells that it was asked for anew, or with `keep` only those that are missing; tables are made from the whole file.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.tracking import commit

Cell = dict[str, Any]


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
        about = {"commit": self._commit, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        self._cells[name] = measure() | about | {"busy": round(os.getloadavg()[0], 1)}
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
        """Commits that the cells of a measurement come from, the size of answers, and how busy the machine was."""
        cells = [cell for name, cell in self._cells.items() if name.startswith(prefix)]
        commits = sorted({cell["commit"] for cell in cells})
        busy = [cell["busy"] for cell in cells] or [0.0]
        sizes = " and ".join(sorted({"1 KB" if cell.get("large") else "170 bytes" for cell in cells}))
        return (
            f"{len(cells)} cells at {', '.join(commits)}; answers of {sizes}; processes that wanted a core, a minute's "
            f"mean, the bench's own among them: {min(busy):.1f} – {max(busy):.1f}."
        )

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self._cells, indent=1) + "\n")
        part.replace(self.path)
