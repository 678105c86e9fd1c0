"""The plan: what is judged, by which margins and why, written before the data came and hashed into the report.

Pure: bytes in, a checked plan out; whoever has a file reads it. Unknown fields are refused, a guardrail without a
margin or without a reason for it too. Next module: `analysis.load`.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Annotated, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from analysis.adapters import ADAPTERS
from analysis.measures import MEASURES, NONE, TAIL_METRICS

SHADOW: Final = "shadow"
CONTROL: Final = "control"

HOUR_US: Final = 3_600_000_000
MOST_LOOKS: Final = 20
EARLIEST: Final = 0.1
"""No look before this part of the whole time: what it could show would be nothing."""

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class PlanError(Exception):
    """A plan that cannot be used; the text names the field and what is wrong with it."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class MetricPlan(_Strict):
    """One metric: a guardrail with a margin and its reason, or a description without.

    `margin` is the largest harm that is tolerated, positive, in `unit` (`share`, `rate`, `ms`, or `relative`: .1 is
    10 % more). `comparison` and `unit` repeat the definition so that the plan can be read alone; both are checked.
    """

    name: str
    role: Literal["guardrail", "descriptive"]
    comparison: str
    unit: str
    margin: float | None = Field(default=None, gt=0)
    reason: str = ""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in MEASURES:
            raise ValueError(f"unknown metric {name!r}{nearest(name, MEASURES)}; known are {', '.join(MEASURES)}")
        return name

    @model_validator(mode="after")
    def _agrees_with_definition(self) -> MetricPlan:
        measure = MEASURES[self.name]
        if self.comparison != measure.comparison:
            raise ValueError(f"{self.name} is defined as {measure.comparison!r}, not {self.comparison!r}")
        if self.unit not in measure.units:
            raise ValueError(f"{self.name} is measured in {' or '.join(measure.units)}, not {self.unit!r}")
        return self

    @model_validator(mode="after")
    def _role_fits(self) -> MetricPlan:
        if self.role == "descriptive" and self.margin is not None:
            raise ValueError(f"{self.name} is descriptive, so it has no margin")
        if self.role == "guardrail" and self.name in TAIL_METRICS[1:]:
            raise ValueError(
                f"{self.name} tells the same as {TAIL_METRICS[0]}, and one metric of the tail is gated: make it "
                f"descriptive, and {TAIL_METRICS[0]} the guardrail"
            )
        if self.role == "guardrail" and MEASURES[self.name].harm == NONE:
            raise ValueError(f"{self.name} has no harmful direction, so it can only be descriptive")
        if self.role == "guardrail" and self.margin is None:
            raise ValueError(f"guardrail {self.name} needs a margin")
        if self.role == "guardrail" and not self.reason.strip():
            raise ValueError(f"guardrail {self.name} needs a reason for its margin")
        return self


class Floors(_Strict):
    """Below these effective numbers, (Σn)²/Σn², of users and of time blocks nothing is decided."""

    users: float = Field(default=200, ge=2)
    blocks: float = Field(default=20, ge=2)


class Fractions(_Strict):
    """Which part of the users each arm was configured to be shown, in (0, 1]."""

    shadow: float = Field(default=1.0, gt=0, le=1)
    control: float = Field(default=1.0, gt=0, le=1)


class Plan(_Strict):
    """A whole plan. `alpha` is one-sided per guardrail, `power` for the whole gate when it asks for more data.

    `block_hours` is the length of a time block of event time, a year at most; `deadline_ms` the arms' deadline at the
    router, at which latencies are cut off. `max_pair_loss`, `max_control_failures`, `max_control_difference` (lists of
    the control that are not the primary's; 1 for a service that is random by design) and `max_without_user` (requests
    that name no user, each of which counts as a user of its own) are the shares above which nothing can be judged.
    `missing_rule` has one value for now: a copy that failed is an empty list, one never judged is loss.
    `looks` are hours of data after the first event, the last one being the end (`analysis.schedule`); without, whatever
    there is is judged as if once. Under `minimum_hours`, or with fewer users than `minimum_users`, nothing is decided:
    far below its planned size a trial passes or holds by luck. `catalogue` (SHA-256 of its file) and `bundles` (arm:
    version) say what the plan was written for; anything else is not judged.
    """

    schema_version: Literal[1]
    name: str = Field(min_length=1)
    adapter: str = "ranked_list"
    alpha: float = Field(default=0.05, ge=1e-6, lt=0.5)
    power: float = Field(default=0.8, gt=0.5, lt=1)
    unit: Literal["user"] = "user"
    looks: tuple[Annotated[float, Field(gt=0)], ...] = ()
    minimum_hours: float = Field(default=0.0, ge=0)
    minimum_users: int = Field(default=0, ge=0)
    catalogue: Sha256 | None = None
    bundles: dict[Literal["primary", "shadow", "control"], Annotated[str, Field(min_length=1)]] = {}
    block_hours: float = Field(gt=0, le=8784)
    deadline_ms: float = Field(gt=0)
    floors: Floors = Floors()
    fractions: Fractions = Fractions()
    max_pair_loss: float = Field(default=0.02, ge=0, lt=1)
    max_control_failures: float = Field(default=0.02, ge=0, lt=1)
    max_control_difference: float = Field(default=0.02, ge=0, le=1)
    max_without_user: float = Field(default=0.02, ge=0, le=1)
    missing_rule: Literal["failure_is_empty"] = "failure_is_empty"
    metrics: tuple[MetricPlan, ...]

    @field_validator("adapter")
    @classmethod
    def _known_adapter(cls, name: str) -> str:
        if name not in ADAPTERS:
            raise ValueError(f"unknown adapter {name!r}{nearest(name, ADAPTERS)}; known are {', '.join(ADAPTERS)}")
        return name

    @field_validator("looks")
    @classmethod
    def _looks_ascend(cls, looks: tuple[float, ...]) -> tuple[float, ...]:
        if len(looks) > MOST_LOOKS:
            raise ValueError(f"at most {MOST_LOOKS} looks can be planned, not {len(looks)}")
        if looks and looks[0] < EARLIEST * looks[-1]:
            raise ValueError(f"the first look must not be before a tenth of the last ({EARLIEST * looks[-1]:g} hours)")
        if any(later - earlier < looks[-1] / 100 for earlier, later in pairwise(looks)):
            raise ValueError("looks must ascend, each at least a hundredth of the last after the one before")
        return looks

    @field_validator("metrics")
    @classmethod
    def _some_guardrail_no_twins(cls, metrics: tuple[MetricPlan, ...]) -> tuple[MetricPlan, ...]:
        names = [metric.name for metric in metrics]
        twins = sorted({name for name in names if names.count(name) > 1})
        if twins:
            raise ValueError(f"named twice: {', '.join(twins)}")
        if not any(metric.role == "guardrail" for metric in metrics):
            raise ValueError("at least one guardrail is needed: without one everything would pass")
        return metrics

    @property
    def block_us(self) -> int:
        """Length of a time block in microseconds, at least 1."""
        return max(1, round(self.block_hours * HOUR_US))

    @property
    def guardrails(self) -> int:
        """How many metrics can hold the shadow."""
        return sum(metric.role == "guardrail" for metric in self.metrics)


class _UniqueKeys(yaml.SafeLoader):
    """YAML lets a later key overwrite an earlier one silently; a plan must not."""


def _mapping(loader: _UniqueKeys, node: yaml.MappingNode) -> dict[object, object]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    for key in keys:
        if keys.count(key) > 1:
            raise PlanError(f"{key!r} stands twice (line {node.start_mark.line + 1} and after)")
    return dict(loader.construct_mapping(node, deep=True))


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def parse_plan(text: bytes) -> Plan:
    """The plan in a YAML document; `PlanError` names each wrong field."""
    try:
        document = yaml.load(text, Loader=_UniqueKeys)
    except (yaml.YAMLError, UnicodeError) as error:
        raise PlanError(f"no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise PlanError("not a YAML mapping at the top")
    try:
        return Plan.model_validate(document)
    except ValidationError as error:
        raise PlanError(
            "; ".join(_said(tuple(each["loc"]), each["type"], each["msg"]) for each in error.errors())
        ) from error


def plan_hash(text: bytes) -> str:
    """SHA-256 of the document as it stands (what `sha256sum` prints)."""
    return hashlib.sha256(text).hexdigest()


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like `name`, as the middle of a sentence; empty when none is."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""


def _said(where: Sequence[int | str], kind: str, message: str) -> str:
    place = ".".join(map(str, where)) or "plan"
    if kind == "extra_forbidden":
        return f"{place}: there is no such field{nearest(str(where[-1]), _fields(where[:-1]))}"
    return f"{place}: {message.removeprefix('Value error, ')}"


def _fields(where: Sequence[int | str]) -> Iterable[str]:
    parts: dict[str, type[BaseModel]] = {"metrics": MetricPlan, "floors": Floors, "fractions": Fractions}
    return (parts[str(where[0])] if where else Plan).model_fields
