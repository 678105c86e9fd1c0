"""The router's ConfigMap: its configuration without an operator, and what it starts from when the operator is away.

Its name stays and no pod names its content, so a change restarts nothing. Next module:
`shadow.controller.children.network`.
"""

from __future__ import annotations

import msgspec

from shadow.controller.children.primary import CONFIG_FILE, config_map_name
from shadow.controller.kinds import CONFIG_MAP
from shadow.controller.names import PRIMARY, manifest
from shadow.controller.resource import Serving, ShadowDeployment
from shadow.controller.router_config import router_config
from shadow.controller.wire import Manifest


def config_map(resource: ShadowDeployment, serving: Serving) -> Manifest:
    """`<name>-router`."""
    text = msgspec.json.format(msgspec.json.encode(router_config(resource, serving)), indent=2).decode()
    body = {"data": {CONFIG_FILE: text + "\n"}}
    return manifest(resource, CONFIG_MAP, config_map_name(resource), PRIMARY, PRIMARY, body)
