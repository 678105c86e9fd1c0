"""Any valid spec, for property tests."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st

from shadow.controller.names import RESERVED_ARMS
from shadow.controller.resource import Serving, ServingArm, ShadowDeployment
from tests.shadow.controller.cases import MODEL
from tests.shadow.controller.resources import CHAMPION, CONTROL, SHADOW, resource

PERCENT: Final = st.integers(0, 100)
NAMES: Final = st.from_regex(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?", fullmatch=True)
RESOURCE_NAMES: Final = st.from_regex(r"[a-z](-?[a-z0-9]){0,19}|[a-z][a-z0-9]{0,39}", fullmatch=True).filter(
    lambda name: not name.endswith(tuple(f"-{each}" for each in RESERVED_ARMS))
)
WORDS: Final = st.sampled_from(["", "1", "a", "zone-a"])
ENV: Final = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from(["A", "B_C", "OMP_NUM_THREADS"]), "value": WORDS}), max_size=3
)
PEERS: Final = st.lists(
    st.sampled_from(
        [
            {"podSelector": {}},
            {"podSelector": {"matchLabels": {"app": "redis"}}},
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}, "podSelector": {}},
            {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
        ]
    ),
    max_size=2,
)
WAYS: Final = st.fixed_dictionaries({"port": st.integers(1, 65_535), "to": PEERS})


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def overlays(*containers: str) -> st.SearchStrategy[dict[str, Any]]:
    """A podTemplate for these containers."""
    one = st.fixed_dictionaries(
        {"name": st.sampled_from(containers)},
        optional={
            "env": ENV,
            "envFrom": st.just([{"configMapRef": {"name": "more"}}]),
            "resources": st.just({"requests": {"cpu": "200m"}, "limits": {"memory": "2Gi", "cpu": 2}}),
            "volumeMounts": st.just([{"name": "mine", "mountPath": "/mine"}]),
        },
    )
    spec = optional(
        nodeSelector=st.dictionaries(st.sampled_from(["disk", "zone"]), WORDS, max_size=2),
        tolerations=st.just([{"key": "spot", "operator": "Exists"}]),
        affinity=st.just({"podAntiAffinity": {}}),
        topologySpreadConstraints=st.just(
            [{"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}]
        ),
        priorityClassName=st.just("high"),
        imagePullSecrets=st.just([{"name": "registry"}]),
        volumes=st.just([{"name": "mine", "emptyDir": {}}]),
        containers=st.lists(one, max_size=3, unique_by=lambda each: str(each["name"])),
    )
    metadata = optional(labels=st.just({"team": "shop"}), annotations=st.just({"note": "x"}))
    return optional(metadata=metadata, spec=spec)


MIRROR: Final = optional(
    percent=PERCENT,
    routes=st.lists(
        st.sampled_from([{"path": "/recommend"}, {"method": "POST", "path": "/b"}]), min_size=1, max_size=3
    ),
    timeoutMilliseconds=st.integers(1, 600_000),
    queueSeconds=st.integers(1, 600),
    concurrency=st.integers(1, 256),
    replicas=st.integers(1, 100),
    podTemplate=overlays("bento"),
)
SHADOWS: Final = st.lists(
    st.fixed_dictionaries(
        {
            "name": NAMES.filter(lambda name: name not in RESERVED_ARMS and not name.endswith("-operator")),
            "model": st.just(MODEL),
        },
        optional={"percent": PERCENT},
    ),
    max_size=2,
    unique_by=lambda shadow: str(shadow["name"]),
)
TRIALS: Final = st.fixed_dictionaries(
    {"mirror": MIRROR, "control": optional(percent=PERCENT), "shadows": SHADOWS, "paused": st.booleans()}
)
"""All of spec that is about shadows."""
PRODUCTIONS: Final = optional(
    replicas=st.integers(0, 1_000),
    autoscaling=st.just({"maxReplicas": 5}),
    podTemplate=overlays("bento", "router", "shipper"),
    startupSeconds=st.integers(10, 3_600),
    registryURL=st.just("http://mlflow:5000"),
    deletionPolicy=st.sampled_from(["Orphan", "Delete"]),
    network=optional(
        policies=st.booleans(),
        clients=PEERS,
        monitoring=PEERS,
        dns=st.booleans(),
        redis=WAYS,
        store=WAYS,
        registry=WAYS,
        otlp=WAYS,
    ),
    router=st.fixed_dictionaries(
        {"existingSecret": st.just("router")},
        optional={
            "queueSize": st.sampled_from(["1Ki", "64Mi", "1Gi"]),
            "answerSize": st.sampled_from(["1Ki", "1Mi"]),
            "maxArms": st.integers(4, 10),
            "connections": st.integers(16, 100_000),
            "deregisterSeconds": st.integers(0, 120),
            "drainSeconds": st.integers(1, 120),
        },
    ),
    pairLog=st.fixed_dictionaries(
        {"destination": st.just("s3://b/p")},
        optional={
            "existingSecret": st.just("store"),
            "endpoint": st.just("http://s3:7070"),
            "region": st.just("eu-central-1"),
            "spoolSize": st.sampled_from(["200Mi", "10Gi"]),
            "drainSeconds": st.integers(1, 300),
        },
    ),
)
"""All of spec that is about production."""


def plays(sd: ShadowDeployment, shadow: bool = True) -> Serving:
    """The champion, and all arms that `sd` names."""
    more = tuple(ServingArm(each.name, "shadow", each.model) for each in sd.spec.shadows)
    return Serving(CHAMPION, ((SHADOW, CONTROL) if shadow else (CONTROL,)) + more)


@st.composite
def resources(draw: st.DrawFn) -> ShadowDeployment:
    """Any valid one."""
    return resource(draw(RESOURCE_NAMES), **(draw(PRODUCTIONS) | draw(TRIALS)))
