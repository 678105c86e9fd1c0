"""`understudy render`: the objects of a ShadowDeployment, for `kubectl apply` where no operator runs.

Next module: `shadow.controller.annotated`.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import msgspec
import yaml

from shadow.controller.checks import parse, read_resource
from shadow.controller.children import children
from shadow.controller.parts import Version
from shadow.controller.reconcile import serving_of
from shadow.controller.resource import Platform, ResourceError, ShadowDeployment
from shadow.controller.wire import Manifest

ROUTER_IMAGE = f"understudy-router:{version('understudy-shadow')}"


@click.command()
@click.option("-f", "--file", "name", required=True, metavar="FILE", help="A ShadowDeployment, YAML or JSON; -: stdin.")
@click.option(
    "--serving",
    "before",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The file as it was, whose spec.model serves: that of FILE is its shadow then.",
)
@click.option("-n", "--namespace", default="", help="Of the objects  [FILE's]")
@click.option("--router-image", default=ROUTER_IMAGE, show_default=True, help="By an exact tag or digest.")
@click.option("--priority-class", default="", help="PriorityClass of the primary  [the cluster's default]")
@click.option("--shadow-priority-class", default="", help="Of shadow and control  [the cluster's default]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, a List.")
def render(
    name: str,
    before: Path | None,
    namespace: str,
    router_image: str,
    priority_class: str,
    shadow_priority_class: str,
    as_json: bool,
) -> None:
    """Print the Kubernetes objects of a ShadowDeployment, for `kubectl apply -f -` without the operator.

    Its routers read their ConfigMap. A change of the mirroring is in force when they have read it again
    (docs/shadowdeployment.md); with an operator it takes a second.
    """
    platform = Platform(
        router_image=router_image, priority_class=priority_class, shadow_priority_class=shadow_priority_class
    )
    try:
        resource = parse(sys.stdin.buffer.read()) if name == "-" else read_resource(Path(name))
        serving = read_resource(before).spec.model if before is not None else None
        found = rendered(resource, platform, serving, namespace)
    except ResourceError as error:
        click.secho(f"error: {error}", fg="red", err=True)
        sys.exit(2)
    if as_json:
        click.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": found}))
    else:
        click.echo(as_yaml(found), nl=False)


def rendered(
    resource: ShadowDeployment, platform: Platform, serving: Version | None = None, namespace: str = ""
) -> list[Manifest]:
    """The children while `serving` is the primary; without it what `status` says serves, else `spec.model`."""
    if namespace:
        metadata = msgspec.structs.replace(resource.metadata, namespace=namespace)
        resource = msgspec.structs.replace(resource, metadata=metadata)
    if serving is not None:
        status = msgspec.structs.replace(resource.status, primary=serving)
        resource = msgspec.structs.replace(resource, status=status)
    # Nobody would take these along: an owner is followed by the cluster, and that is told by its uid.
    metadata = msgspec.structs.replace(resource.metadata, uid="", deletion_timestamp="")
    resource = msgspec.structs.replace(resource, metadata=metadata)
    return list(children(resource, serving_of(resource, ()), platform))


class _Text(yaml.SafeDumper):
    """Texts of several lines stay readable; nothing is written by reference."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature of yaml
        return True


def _lines(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Text.add_representer(str, _lines)


def as_yaml(documents: list[Manifest]) -> str:
    """Kubernetes objects as people write them."""
    return yaml.dump_all(documents, Dumper=_Text, sort_keys=False, width=110, allow_unicode=True)
