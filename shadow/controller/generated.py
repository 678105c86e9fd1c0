"""Files of the repository that are made from the model: `python -m shadow.controller.generated update`, or `verify`.

Verify names what is not current and how to make it so. Next module: `shadow.controller.render`.
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Final

import yaml

from shadow.controller.crd import crd
from shadow.controller.kinds import rules
from shadow.controller.wire import Manifest

ROOT: Final = Path(__file__).parents[2]
CRD_FILE: Final = "helm/understudy-crds/templates/shadowdeployments.yaml"
RULES_FILE: Final = "helm/understudy/files/rules.yaml"
UPDATE: Final = "make update-generated"


def wanted() -> dict[str, str]:
    """Content by path from the repository's root."""
    return {
        CRD_FILE: f"# Made by `{UPDATE}` from shadow/controller/resource.py.\n" + as_yaml([crd()]),
        RULES_FILE: f"# Made by `{UPDATE}` from shadow/controller/kinds.py.\n" + yaml.safe_dump(rules()),
    }


def as_yaml(documents: list[Manifest]) -> str:
    """Kubernetes objects as people write them."""
    return yaml.safe_dump_all(documents, sort_keys=False, width=110, allow_unicode=True)


def differences() -> list[str]:
    """A line about every file that is not current."""
    found = []
    for name, content in wanted().items():
        path = ROOT / name
        there = path.read_text() if path.exists() else ""
        if there != content:
            lines = difflib.unified_diff(there.splitlines(), content.splitlines(), n=0, lineterm="")
            first = next((line for line in lines if not line.startswith(("---", "+++", "@@"))), "")
            found.append(f"{name} is not current ({first.strip()}): {UPDATE}")
    return found


def update() -> None:
    """Write them."""
    for name, content in wanted().items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def main(arguments: list[str]) -> int:
    """`update` or `verify`; 1 when something is not current."""
    if arguments == ["update"]:
        update()
        return 0
    if arguments != ["verify"]:
        print("usage: python -m shadow.controller.generated update|verify", file=sys.stderr)
        return 2
    found = differences()
    print("\n".join(found) or f"{len(wanted())} files are current")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
