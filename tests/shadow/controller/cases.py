"""Specs that break a rule, one or more for each: for the Python check and for a real API server."""

from __future__ import annotations

from typing import Any, Final

from tests.shadow.controller.resources import CHALLENGER

MODEL: Final = {"name": CHALLENGER.name, "bento": CHALLENGER.bento, "image": CHALLENGER.image}
OTHER: Final = {"name": "other", "model": MODEL}
PODS: Final = {"podSelector": {}}


def _mounted(path: str) -> dict[str, Any]:
    mounts = [{"name": "mine", "mountPath": path}]
    return {"spec": {"volumes": [{"name": "mine"}], "containers": [{"name": "bento", "volumeMounts": mounts}]}}


BROKEN: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "percent and fraction": (
        {"mirror": {"percent": 5, "fraction": {"numerator": 1, "denominator": 1000}}},
        "percent and fraction are two ways",
    ),
    "a fraction above 1": ({"mirror": {"fraction": {"numerator": 3, "denominator": 2}}}, "a fraction is at most 1"),
    "events copied": ({"mirror": {"routes": [{"method": "POST", "path": "/events"}]}}, "remove this route"),
    "promotion without a plan": ({"onPass": "Promote"}, "name its ConfigMap in spec.gate.plan"),
    "a shadow called shadow": ({"shadows": [OTHER | {"name": "shadow"}]}, "choose another"),
    "shadows beyond the room": (
        {"shadows": [OTHER, OTHER | {"name": "another"}, OTHER | {"name": "third"}]},
        "raise spec.router.maxArms",
    ),
    "no room for the control": ({"router": {"existingSecret": "r", "maxArms": 1}}, "raise spec.router.maxArms"),
    "a queue that no router takes": ({"router": {"existingSecret": "r", "queueSize": "5Gi"}}, "lower them"),
    "an answer that no router takes": ({"router": {"existingSecret": "r", "answerSize": "17Mi"}}, "lower them"),
    "a route with a query": ({"mirror": {"routes": [{"path": "/recommend?k=5"}]}}, "give it without ?"),
    "events in other letters": ({"mirror": {"routes": [{"path": "//events"}]}}, "give it without ?"),
    "events by their codes": ({"mirror": {"routes": [{"path": "/%65vents"}]}}, "give it without ?"),
    "an image of half a digest": ({"model": MODEL | {"image": "challenger@sha256:abc"}}, "give name:tag"),
    "an image without a tag": ({"model": MODEL | {"image": "registry:5000/challenger"}}, "give name:tag"),
    "an image called latest": ({"model": MODEL | {"image": "challenger:latest"}}, "give name:tag"),
    "a bento called latest": ({"model": MODEL | {"bento": "challenger:latest"}}, "give name:version"),
    "looks that come too late": ({"gate": {"minDuration": "48h", "maxDuration": "24h"}}, "shorten it"),
    "fewest above most": ({"autoscaling": {"minReplicas": 4, "maxReplicas": 2}}, "raise maxReplicas"),
    "a spool of one segment": (
        {"pairLog": {"destination": "s3://b/p", "segmentSize": "1Gi", "spoolSize": "1Gi"}},
        "raise it, or lower segmentSize",
    ),
    "an endpoint of no S3": (
        {"pairLog": {"destination": "gs://b/p", "endpoint": "http://x"}},
        "give an s3:// destination",
    ),
    "a key without KMS": ({"pairLog": {"destination": "s3://b/p", "kmsKey": "k"}}, "set encryption to aws:kms"),
    "a peer of both kinds": (
        {"network": {"clients": [PODS | {"ipBlock": {"cidr": "10.0.0.0/8"}}]}},
        "give one of the two",
    ),
    "a peer of neither kind": ({"network": {"redis": {"port": 6379, "to": [{}]}}}, "give one of the two"),
    "the operator's labels": (
        {"podTemplate": {"metadata": {"labels": {"app.kubernetes.io/name": "x"}}}},
        "are the operator's: remove them",
    ),
    "the operator's annotations": (
        {"mirror": {"podTemplate": {"metadata": {"annotations": {"understudy.dev/bento": "x"}}}}},
        "are the operator's: remove them",
    ),
    "the operator's volume": ({"podTemplate": {"spec": {"volumes": [{"name": "spool"}]}}}, "choose another name"),
    "a mount over the operator's": (
        {
            "podTemplate": {
                "spec": {
                    "containers": [{"name": "bento", "volumeMounts": [{"name": "mine", "mountPath": "/tmp"}]}],
                }
            }
        },
        "choose another mountPath",
    ),
    "a mount over the operator's, spelt otherwise": ({"podTemplate": _mounted("/tmp/")}, "choose another mountPath"),
    "a mount below no root": ({"podTemplate": _mounted("tmp")}, "choose another mountPath"),
    "a mount by a detour": ({"podTemplate": _mounted("/run/./understudy")}, "choose another mountPath"),
    "a router in an arm's pod": (
        {"mirror": {"podTemplate": {"spec": {"containers": [{"name": "router"}]}}}},
        "move those to spec.podTemplate",
    ),
    "the operator's environment of bento": (
        {"podTemplate": {"spec": {"containers": [{"name": "bento", "env": [{"name": "UNDERSTUDY_REDIS_URL"}]}]}}},
        "env of bento may set none of",
    ),
    "the operator's environment of router": (
        {"podTemplate": {"spec": {"containers": [{"name": "router", "env": [{"name": "UNDERSTUDY_UNIT_KEY"}]}]}}},
        "env of router may set none of",
    ),
    "the operator's environment of shipper": (
        {"podTemplate": {"spec": {"containers": [{"name": "shipper", "env": [{"name": "AWS_REGION"}]}]}}},
        "env of shipper may set none of",
    ),
}
"""Name of the case: what is in spec, and part of what is said about it."""
