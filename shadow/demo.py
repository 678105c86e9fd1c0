"""The whole path on one machine, as a story of commands: data → two models → bentos → shadow traffic → verdict.

`understudy demo` does nothing that a reader could not do by hand: every step is one of the commands it prints. It
exits 0 for any verdict that was reached, and stops all it has started however it ends. The set it plays on is
`shadow.rehearsal`; the check that nothing was lost is `shadow.accounting`; the directory is `shadow.workspace`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Final, NoReturn

import click
import msgspec

from shadow.processes import Stage, StepError, ensure_ports_free
from shadow.publication import publish, results_of
from shadow.rehearsal import HOST, Ports, Rehearsal
from shadow.settings import available_cores, child_environment
from shadow.workspace import Interrupted, interruptible, prepared

CHECKOUT: Final = Path(__file__).parent.parent
CONFIGS: Final = {name: CHECKOUT / "training" / "configs" / f"{name}.toml" for name in ("champion", "challenger")}
PLAN: Final = CHECKOUT / "plans" / "movielens-demo.yaml"
STEPS: Final = 8


class Story:
    """The steps in their order; each leaves what later ones need in `directory` or in an attribute."""

    def __init__(self, rehearsal: Rehearsal, seconds: float, max_rps: float) -> None:
        self.set = rehearsal
        self.directory = rehearsal.directory
        self.pace = ("--seconds", f"{seconds:g}", "--max-rps", f"{max_rps:g}")
        self.started = time.monotonic()
        self.step = 0
        self.tags: dict[str, str] = {}
        self.summary: dict[str, Any] = {}

    def tell(self, title: str) -> None:
        """Print the headline of the next step with the time since the start."""
        self.step += 1
        click.secho(f"\n[{self.step}/{STEPS}] {title}  ({time.monotonic() - self.started:.0f} s)", bold=True)

    def data(self) -> None:
        """The ratings, verified; what users did before the cut; the requests to come."""
        self.tell("MovieLens-1M, verified by SHA-256")
        self.set.run("data", "fetch")
        self.set.run("data", "facts", "--until", "train", "--out", self.directory / "facts.parquet")
        self.set.run("data", "requests", "--out", self.directory / "requests.jsonl")

    def offline(self) -> None:
        """What the team saw before: both models on the test period, against the best popularity variant."""
        self.tell("Offline: refit on train + validation, evaluated on the test period once")
        result = self.directory / "evaluation.json"
        self.set.run("evaluate", *CONFIGS.values(), "--out", result, "--tracking", self.tracking)
        self.summary["evaluation"] = msgspec.json.decode(result.read_bytes())

    def models(self) -> None:
        """Champion and challenger on the first 80 %, registered, exported and packaged."""
        self.tell("Champion and challenger on the first 80 %: MLflow versions, bundles, bentos")
        for name, config in CONFIGS.items():
            where = ("--bundle", self.bundle(name), "--tracking", self.tracking, "--alias", name)
            self.set.run("train", config, "--fit", "train", *where)
            self.tags[name] = self.set.run("bento", "build", self.bundle(name), capture=True).splitlines()[-1].strip()
            click.echo(f"{name}: bento {self.tags[name]}")

    def services(self) -> None:
        """Redis with facts and vectors; primary and control serve the champion, the shadow the challenger."""
        self.tell("Redis, three bentos")
        self.set.start_redis()
        facts = ("--facts", self.directory / "facts.parquet", "--redis", self.set.redis_url)
        for name in CONFIGS:
            self.set.run("features", "load", self.bundle(name), *facts)
        for arm, model in (("primary", "champion"), ("control", "champion"), ("shadow", "challenger")):
            self.set.start_bento(arm, self.tags[model])

    def shadow_run(self, experiment: str, shadow: str) -> None:
        """Replay December 2000 through the router with `shadow` on trial, then close the log and check the accounts."""
        self.tell(f"Shadow traffic: {shadow} behind the champion (experiment {experiment})")
        arms = {"primary": self.tags["champion"], "shadow": self.tags[shadow], "control": self.tags["champion"]}
        self.set.start_router(experiment, arms)
        result = self.directory / f"replay-{experiment}.json"
        replayed = self.set.replay(self.directory / "requests.jsonl", result, *self.pace)
        counts, metrics = self.set.counts(), self.set.metrics()
        self.set.close_log()
        wrong = self.set.accounts(experiment, replayed["requests"], counts, metrics)
        if wrong:
            raise StepError("client, router, metrics and log disagree:\n  " + "\n  ".join(wrong))
        click.echo(f"Accounts agree: {replayed['requests']} requests sent = received = in /metrics = logged, per arm.")
        self.summary[experiment] = {"replay": replayed, "counters": msgspec.to_builtins(counts)}

    def gate(self, experiment: str, shadow: str) -> None:
        """Judge the log of `experiment` by the plan; any verdict is a result."""
        self.tell(f"The gate: {shadow} in the shadow of the champion")
        out = self.directory / f"report-{experiment}"
        bundles = ("--bundle", f"primary={self.bundle('champion')}", "--bundle", f"shadow={self.bundle(shadow)}")
        catalogue = ("--catalogue", self.bundle("champion") / "catalogue.parquet")
        options = ("--plan", PLAN, *catalogue, "--experiment", experiment, "--out", out, *bundles)
        self.set.run("gate", self.set.pairs, *options, "--exit-zero")
        self.summary[experiment]["report"] = msgspec.json.decode((out / "report.json").read_bytes())

    def champion_against_itself(self) -> None:
        """The same gate on the champion behind itself: a gate that holds this for its lists is broken."""
        # Both arms anew: a process that has served for a while is not as fast as one that has not.
        for arm in ("shadow", "control"):
            self.set.stage.stop(arm)
        for arm in ("control", "shadow"):
            self.set.start_bento(arm, self.tags["champion"])
        self.shadow_run("demo-self", "champion")
        self.gate("demo-self", "champion")
        held = held_for_lists(self.summary["demo-self"]["report"])
        if held:
            raise StepError(
                f"the champion was HELD against itself for {', '.join(held)}: the gate is not to be trusted"
            )

    def curtain(self) -> None:
        """Both verdicts and where to look."""
        click.secho(f"\nDone in {time.monotonic() - self.started:.0f} s.", bold=True)
        for experiment, title in (("demo", "challenger"), ("demo-self", "champion against itself")):
            report = self.directory / f"report-{experiment}" / "report.html"
            click.echo(f"  {title:24} {self.summary[experiment]['report']['verdict']:13} {report}")
        (self.directory / "summary.json").write_bytes(msgspec.json.format(msgspec.json.encode(self.summary), indent=2))

    def keep(self) -> NoReturn:
        """Leave the set running, with the challenger in the shadow, until a signal comes."""
        self.set.stage.stop("shadow")
        self.set.start_bento("shadow", self.tags["challenger"])
        champion, challenger = self.tags["champion"], self.tags["challenger"]
        self.set.start_router("demo-keep", {"primary": champion, "shadow": challenger, "control": champion})
        click.secho("\nKept running; Ctrl-C stops everything. Try:", bold=True)
        known = msgspec.json.decode((self.bundle("champion") / "user_ids.json").read_bytes())[0]
        click.echo(f"  curl -s 'http://{HOST}:{self.set.ports.router}/recommend?user_id={known}&k=3'")
        click.echo(f"  curl -s 'http://{HOST}:{self.set.ports.router}/recommend?user_id=nobody&k=3'")
        click.echo(f"  curl -s http://{HOST}:{self.set.ports.admin}/counters")
        while True:
            time.sleep(1)
            self.set.stage.ensure_alive()

    @property
    def tracking(self) -> str:
        """The MLflow store of this run."""
        return f"sqlite:///{self.directory / 'mlflow.db'}"

    def bundle(self, name: str) -> Path:
        """Where the bundle of the model `name` is."""
        return self.directory / "bundles" / name


def held_for_lists(report: dict[str, Any]) -> list[str]:
    """The guardrails on lists (not latency, not errors) that hold in a gate's report."""
    lists = ("long_tail_share", "empty_lists")
    return [metric["name"] for metric in report["metrics"] if metric["name"] in lists and metric["decision"] == "hold"]


@click.command()
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".understudy/demo"),
    show_default=True,
)
@click.option(
    "--port",
    type=click.IntRange(1024, 65535 - Ports(0).redis),
    default=8700,
    show_default=True,
    help="First of the ports used: this, +1, +10 to +12, +20.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=85.0,
    show_default=True,
    help="Length of each replay of the 27 days.",
)
@click.option(
    "--max-rps",
    type=click.FloatRange(min=1),
    default=150.0,
    show_default=True,
    help="Highest request rate in a replay.",
)
@click.option("--publish", "published", is_flag=True, help="Write docs/results.json and the README's tables.")
@click.option("--keep", is_flag=True, help="Leave everything running at the end, for curl, until Ctrl-C.")
def demo(directory: Path, port: int, seconds: float, max_rps: float, published: bool, keep: bool) -> None:
    """The whole path, from MovieLens to a verdict, on this machine (at most 8 minutes on two cores)."""
    directory = directory.absolute()
    ports = Ports(port)
    try:
        with interruptible():
            ensure_ports_free(ports.all())
            with (
                prepared(directory),
                Stage(directory / "logs", child_environment(directory)) as stage,
                Rehearsal(directory, ports, stage, say) as rehearsal,
            ):
                tell(Story(rehearsal, seconds, max_rps), published, keep)
    except StepError as error:
        click.secho(f"error: {error}", fg="red", err=True)
        sys.exit(1)
    except Interrupted as stop:
        click.echo(f"\n{stop}; everything is stopped.", err=True)
        sys.exit(stop.exit_code)


def tell(story: Story, published: bool, keep: bool) -> None:
    """Play the story to its end."""
    story.data()
    story.offline()
    story.models()
    story.services()
    story.shadow_run("demo", "challenger")
    story.gate("demo", "challenger")
    story.champion_against_itself()
    story.curtain()
    if published:
        seconds = time.monotonic() - story.started
        publish(results_of(story.summary, seconds, available_cores()))
    if keep:
        story.keep()


def say(line: str) -> None:
    """Print one command line as a shell shows it."""
    click.secho(f"$ {line}", fg="cyan")
