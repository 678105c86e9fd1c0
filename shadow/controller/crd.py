"""The CustomResourceDefinition, made from the types of `shadow.controller.resource` and the rules beside them.

A structural schema without references: what the types bound is bounded, a field's docstring is its description, its
default is the API server's default. Next module: `shadow.controller.generated`, which keeps the committed file current.
"""

from __future__ import annotations

import ast
import functools
import inspect
from typing import Any, Final

import msgspec
from msgspec import inspect as types

from shadow.controller.kinds import RESOURCE
from shadow.controller.resource import API_VERSION, GROUP, KIND, ShadowDeployment
from shadow.controller.rules import RULES
from shadow.controller.wire import Manifest

COLUMNS: Final = (
    ("Model", "string", ".spec.model.bento", "What should serve", 0),
    ("Serving", "string", ".status.primary.bento", "What serves", 0),
    ("Shadow", "string", ".status.shadow.bento", "What is on trial", 0),
    ("Percent", "string", ".status.percent", "Of the users, whose requests are copied", 0),
    ("Pairs", "integer", ".status.pairs", "Pairs so far", 0),
    ("Verdict", "string", ".status.verdict.outcome", "What the gate said last", 0),
    ("Age", "date", ".metadata.creationTimestamp", "Since it was made", 0),
    ("Phase", "string", ".status.phase", "Where the life of the rollout is", 1),
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "Whether the primary serves", 1),
)
MAP_KEYS: Final = {"conditions": "type", "shadows": "name", "containers": "name"}
"""Lists that server-side apply joins by a key instead of replacing them whole."""
NO_DEFAULT: Final = frozenset({"status"})
"""Nothing of it is made up."""
PRESERVED: Final = "x-kubernetes-preserve-unknown-fields"


def crd() -> Manifest:
    """The whole definition."""
    columns = [
        {"name": name, "type": kind, "jsonPath": path, "description": text} | ({"priority": rank} if rank else {})
        for name, kind, path, text, rank in COLUMNS
    ]
    version = {
        "name": RESOURCE.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema()},
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
    }
    plural = RESOURCE.plural
    names = {"kind": KIND, "listKind": f"{KIND}List", "plural": plural, "singular": KIND.lower(), "shortNames": ["sd"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        # Helm would otherwise take all resources, and with them production, along with the chart.
        "metadata": {"name": f"{plural}.{GROUP}", "annotations": {"helm.sh/resource-policy": "keep"}},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def schema() -> dict[str, Any]:
    """The OpenAPI schema of the resource."""
    info = types.type_info(ShadowDeployment)
    assert isinstance(info, types.StructType)
    made = _struct(info)
    # The API server knows these better.
    made["properties"] |= {
        "apiVersion": {"type": "string", "description": API_VERSION},
        "kind": {"type": "string", "description": KIND},
        "metadata": {"type": "object"},
    }
    made["required"] = ["spec"]
    return made


def _schema(kind: types.Type) -> dict[str, Any]:
    """The schema of one type."""
    match kind:
        case types.Metadata():
            return _schema(kind.type) | (kind.extra_json_schema or {})
        case types.StructType():
            return _struct(kind)
        case types.UnionType():
            return _union(kind)
        case types.StrType():
            return {"type": "string"} | _bounds(kind, minLength="min_length", maxLength="max_length", pattern="pattern")
        case types.IntType():
            wide = "int32" if kind.le is not None else "int64"
            return {"type": "integer", "format": wide} | _bounds(kind, minimum="ge", maximum="le")
        case types.BoolType():
            return {"type": "boolean"}
        case types.LiteralType():
            return {"type": "string", "enum": list(kind.values)}
        case types.VarTupleType():
            return {"type": "array", "items": _schema(kind.item_type)} | _bounds(
                kind, minItems="min_length", maxItems="max_length"
            )
        case types.DictType(value_type=types.AnyType()):
            return {"type": "object", PRESERVED: True}
        case types.DictType():
            made = {"type": "object", "additionalProperties": _schema(kind.value_type)}
            return made | _bounds(kind, minProperties="min_length", maxProperties="max_length")
    raise TypeError(f"{kind} has no schema here")


def _union(kind: types.UnionType) -> dict[str, Any]:
    """An optional type, or a quantity."""
    inner = [each for each in kind.types if not isinstance(each, types.NoneType)]
    if len(inner) == 1:
        return _schema(inner[0])
    return {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}


def _struct(kind: types.StructType) -> dict[str, Any]:
    """An object with its fields, their descriptions and defaults, and the rules about it."""
    described = descriptions(kind.cls)
    properties = {}
    for field in kind.fields:
        made = _schema(field.type)
        made |= _default(field)
        if field.name in described:
            made["description"] = described[field.name] + _said(made.get("default"))
        if field.encode_name in MAP_KEYS:
            made |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [MAP_KEYS[field.encode_name]]}
        properties[field.encode_name] = made
    made = {"type": "object", "description": _text(inspect.getdoc(kind.cls) or ""), "properties": properties}
    if required := [field.encode_name for field in kind.fields if field.required]:
        made["required"] = required
    if rules := [{"rule": rule.cel, "message": rule.message} for rule in RULES if rule.part is kind.cls]:
        made["x-kubernetes-validations"] = rules
    return made


def _default(field: types.Field) -> dict[str, Any]:
    """The default, where it is more than nothing: a part that is not given is made with all of its own."""
    if field.default is msgspec.NODEFAULT or _nothing(field.default) or field.name in NO_DEFAULT:
        return {}
    return {"default": _told(field.default)}


def _said(default: Any) -> str:
    """A single default in words: `kubectl explain` does not show it."""
    if isinstance(default, bool):
        return f" Default: {str(default).lower()}."
    return f" Default: {default}." if isinstance(default, int | str) else ""


def _told(value: Any) -> Any:
    """A default as the API server needs it: whole, for the rules look into it before its own defaults are filled in."""
    if isinstance(value, msgspec.Struct):
        inner = {field.encode_name: getattr(value, field.name) for field in msgspec.structs.fields(value)}
        return {name: _told(each) for name, each in inner.items() if not _nothing(each)}
    return [_told(each) for each in value] if isinstance(value, tuple) else value


def _nothing(value: Any) -> bool:
    return value is None or value in ("", (), {})


def _bounds(kind: types.Type, **names: str) -> dict[str, Any]:
    found = {wire: getattr(kind, name) for wire, name in names.items()}
    return {wire: value for wire, value in found.items() if value is not None}


@functools.cache
def descriptions(part: type) -> dict[str, str]:
    """Description by field: the docstrings that stand under the fields of the class `part`."""
    (tree,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(part))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, after in zip(tree.body, tree.body[1:], strict=False):
        match field, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = _text(text)
    return found


def _text(text: str) -> str:
    """One paragraph on one line."""
    return " ".join(text.split())
