"""The router beside nginx and Envoy: `make bench-router`, or `python -m tests.bench.router [NAME] [options]`.

Without a name all measurements. Each cell goes to a file (`--results`) as soon as it is measured, and the tables are
made from that file: `--keep` measures only what is missing there, `show` nothing. Progress goes to stderr.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

from shadow.processes import StepError
from tests.bench.router_blackout import blackout_report, measure_blackout
from tests.bench.router_costs import cpu_report, fan_report, measure_cpu, measure_fan
from tests.bench.router_fault_report import fault_report
from tests.bench.router_faults import measure_faults
from tests.bench.router_ill import FAULTS
from tests.bench.router_latency import latency_report, measure_latency
from tests.bench.router_profile import profile
from tests.bench.router_proxies import KINDS
from tests.bench.router_results import Results
from tests.bench.router_stage import ROOT, Bench, MissingError, program

REPORTS: Final = {
    "cpu": cpu_report,
    "latency": latency_report,
    "faults": fault_report,
    "blackout": blackout_report,
    "fanout": fan_report,
}
RESULTS: Final = ROOT / ".understudy" / "bench" / "router.json"


def measure(bench: Bench, name: str, options: argparse.Namespace) -> str:
    """One measurement; its report."""
    results, large, rate = Results(options.results, options.keep), options.large, options.rate
    rounds, seconds = _sizes(name, options)
    if name == "cpu" and options.profile:
        return profile(bench, seconds, large)
    if name == "cpu":
        measure_cpu(bench, results, options.kinds, rounds, seconds, large)
    elif name == "latency":
        measure_latency(bench, results, rounds, seconds, large, rate)
    elif name == "faults":
        calm = options.calm or (2 if options.quick else 15)
        measure_faults(bench, results, options.kinds, options.faults, rounds, calm, seconds, rate)
    elif name == "blackout":
        measure_blackout(bench, results, options.blackout or (20 if options.quick else 600), rate)
    else:
        measure_fan(bench, results, rounds, seconds, large)
    return REPORTS[name](results)


def _sizes(name: str, options: argparse.Namespace) -> tuple[int, float]:
    """Rounds and the seconds of each."""
    usual = {"latency": (5, 20), "faults": (3, 60)}.get(name, (5, 8))
    quick = {"latency": (2, 3), "faults": (1, 3)}.get(name, (2, 2))
    rounds, seconds = quick if options.quick else usual
    return options.rounds or rounds, options.seconds or seconds


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=[*REPORTS, "show"], help="one measurement [all]")
    parser.add_argument("--quick", action="store_true", help="few and short rounds: whether it works, not what it is")
    parser.add_argument("--rounds", type=int, default=0, help="[5; of faults 3]")
    parser.add_argument("--seconds", type=float, default=0, help="of a round [8; of latency 20, of faults 60]")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file of the cells")
    parser.add_argument("--keep", action="store_true", help="measure only what the file has not")
    parser.add_argument("--large", action="store_true", help="answers of 1 KB, not of 170 bytes")
    parser.add_argument("--rate", type=float, default=0, help="requests/s [half of the router's capacity, measured]")
    parser.add_argument("--kinds", type=lambda text: tuple(text.split(",")), default=KINDS, help="router,nginx,envoy")
    names = f"of faults: {', '.join(FAULTS)}"
    parser.add_argument("--faults", type=lambda text: tuple(text.split(",")), default=tuple(FAULTS), help=names)
    parser.add_argument("--calm", type=float, default=0, help="seconds without a fault before each fault [15]")
    parser.add_argument("--blackout", type=float, default=0, help="seconds of the blackout [600]")
    parser.add_argument("--profile", action="store_true", help="of cpu: where the router's time goes, by function")
    return parser


def main() -> None:
    """Measure, and print each report when it is there."""
    options = arguments().parse_args()
    names = [options.name] if options.name else list(REPORTS)
    if options.name == "show":
        print("\n\n".join(report(Results(options.results)) for report in REPORTS.values()))
        return
    # As Ctrl-C does, so that no process is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        for each in ("nginx", "wrk", "envoy", "taskset", *(["py-spy"] if options.profile else [])):
            program(each)
        with tempfile.TemporaryDirectory(prefix="understudy-router-") as place, Bench.opened(Path(place)) as bench:
            print(f"{bench.cores.text()}.\n")
            for name in names:
                print(measure(bench, name, options) + "\n", flush=True)
    except (MissingError, StepError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
