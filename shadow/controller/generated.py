"""Files of the repository that are made from the model: `python -m shadow.controller.generated update`, or `verify`.

Verify names what is not current and how to make it so.
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Final

import yaml

from shadow.controller.annotated import annotated
from shadow.controller.checks import read_resource
from shadow.controller.crd import crd
from shadow.controller.kinds import rules
from shadow.controller.reference import with_reference
from shadow.controller.render import as_yaml, rendered
from shadow.controller.resource import Platform

ROOT: Final = Path(__file__).parents[2]
CRD_FILE: Final = "helm/understudy-crds/templates/shadowdeployments.yaml"
RULES_FILE: Final = "helm/understudy/files/rules.yaml"
PAGE: Final = "docs/shadowdeployment.md"
EXAMPLES: Final = "k8s/examples/"
RENDERED: Final = {"minimal.yaml": "", "trial.yaml": "minimal.yaml", "full.yaml": ""}
"""Examples that are rendered, and the one that serves meanwhile."""
PLATFORM: Final = Platform(router_image="understudy-router:0.1.0")
UPDATE: Final = "make update-generated"


def wanted() -> dict[str, str]:
    """Content by path from the repository's root. `ResourceError` when an example cannot be."""
    made = f"# Made by `{UPDATE}`"
    found = {CRD_FILE: f"{made} from shadow/controller/resource.py.\n" + as_yaml([crd()])}
    found[RULES_FILE] = f"{made} from shadow/controller/kinds.py.\n" + yaml.safe_dump(rules())
    found[PAGE] = with_reference((ROOT / PAGE).read_text())
    full = EXAMPLES + "full.yaml"
    note = (
        f"# Every field of a ShadowDeployment. The comments are made by `{UPDATE}`, the values are this file's own.\n"
    )
    found[full] = note + annotated(yaml.safe_load((ROOT / full).read_text()))
    for name, serving in RENDERED.items():
        before = read_resource(ROOT / (EXAMPLES + serving)).spec.model if serving else None
        objects = rendered(read_resource(ROOT / (EXAMPLES + name)), PLATFORM, before)
        command = f"understudy render -f {EXAMPLES}{name}" + (f" --serving {EXAMPLES}{serving}" if serving else "")
        found[f"k8s/rendered/{name}"] = f"{made}: {command}\n" + as_yaml(objects)
    return found


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
