"""What a judgement costs: `python -m tests.bench.gate [--pairs N …] [--processes N …]`.

Seeded pair logs, real segments as the shipper writes them: two pairs a request (shadow and control), lists of ten with
titles and scores, a user in fifty requests, four weeks. They are read and judged with every metric there is, each run
in a fresh process. The processes that read begin with this module, so it imports what judges only where it is used: as
`understudy gate` does. Reading (segments to rows) is told apart from judging (join, all metrics, health, report). CPU
is of all processes; memory is the largest resident size of the judging process, and of one that reads for it.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from analysis.items import Items, items_of_catalogue
from analysis.mapping import read_log
from analysis.measures import MEASURES, NONE
from shadow.contracts import Answer, Manifest, PairRecord, SegmentEntry
from shadow.segment_writer import SegmentWriter
from shadow.segments import MANIFEST, read_pairs

if TYPE_CHECKING:
    from analysis.plan import Plan

ITEMS, K = 3_883, 10
REQUESTS_OF_A_USER = 50
START_US, WINDOW_US = 975_715_200_000_000, 28 * 86_400_000_000
RECORDS_OF_A_SEGMENT = 10_000
GOALS = {"seconds": 10.0, "megabytes": 1024.0}
"""For a million pairs and twenty metrics, on two cores."""


class Measured(msgspec.Struct):
    """One run."""

    pairs: int
    processes: int
    reading: float
    reading_cpu: float
    judging: float
    judging_cpu: float
    joining: float
    metrics: float
    megabytes: float
    reader_megabytes: float
    verdict: str


def catalogue() -> Items:
    """As many items as MovieLens-1M has."""
    rng = np.random.default_rng(1)
    popularity = np.sort((rng.pareto(1.0, ITEMS) * 30).astype(int))[::-1]
    genres = [[f"genre {number % 18}", f"genre {number % 7}"] for number in range(ITEMS)]
    return items_of_catalogue(
        [str(number) for number in range(ITEMS)],
        [number >= ITEMS // 20 for number in range(ITEMS)],
        popularity.tolist(),
        genres,
    )


def plan() -> Plan:
    """Every metric there is."""
    from analysis.plan import Plan

    metrics = [
        {"name": each.name, "comparison": each.comparison, "unit": each.units[0]}
        | ({"role": "descriptive"} if each.harm == NONE else {"role": "guardrail", "margin": 0.05, "reason": "bench"})
        for each in MEASURES.values()
    ]
    return Plan.model_validate(
        {"schema_version": 1, "name": "bench", "block_hours": 6, "deadline_ms": 2000, "metrics": metrics}
    )


def records(pairs: int) -> Iterator[PairRecord]:
    """Shadow and control of each request, by event time."""
    rng = np.random.default_rng(2)
    users = max(1, pairs // 2 // REQUESTS_OF_A_USER)
    lists = np.array([rng.choice(ITEMS, K, replace=False) for _ in range(users)])
    own = [_body(each) for each in lists.tolist()]
    others = [_body([*each[:-2], *rng.integers(0, ITEMS, 2).tolist()]) if rng.random() < 0.3 else text
              for each, text in zip(lists.tolist(), own, strict=True)]  # fmt: skip
    who = rng.integers(0, users, pairs // 2)
    times = START_US + np.sort(rng.integers(0, WINDOW_US, pairs // 2))
    took = (rng.lognormal(8.5, 0.5, (pairs // 2, 3))).astype(int).tolist()
    for number, (user, event_us) in enumerate(zip(who.tolist(), times.tolist(), strict=True)):
        opening = f'{{"request_id":"{number:032x}","items":'
        primary = Answer(version="champion:1", status=200, upstream_us=took[number][0], body=opening + own[user])
        for place, (arm, body) in enumerate((("shadow", others[user]), ("control", own[user]))):
            version = "challenger:2" if arm == "shadow" else "champion:1"
            yield PairRecord(
                request_id=f"{number:032x}",
                experiment="bench",
                incarnation="bench",
                sequence=2 * number + place,
                arrival_us=event_us,
                event_time_us=event_us,
                method="GET",
                target=f"/recommend?user_id={user:032x}&k=10",
                unit=f"{user:032x}",
                bucket=user * 1_000_000 // users,
                arm=arm,
                outcome="paired",
                primary=primary,
                arm_answer=Answer(
                    version=version, status=200, upstream_us=took[number][1 + place], body=opening + body
                ),
            )


def _body(items: list[int]) -> str:
    rows = [
        f'{{"item_id":"{item}","title":"A film of {item % 90} words (1999)","score":0.{item:06d}}}' for item in items
    ]
    source = '"model":{"name":"champion","version":"1","bento":"x"},"source":"hybrid"}'
    return f"[{','.join(rows)}],{source}"


def write(directory: Path, pairs: int) -> None:
    """The log, with its manifest."""
    place = directory / "bench" / "bench"
    entries: list[SegmentEntry] = []
    writer: SegmentWriter | None = None
    encode = msgspec.json.Encoder().encode
    for record in records(pairs):
        if writer is None:
            writer = SegmentWriter(place, record.sequence, now=0.0)
        writer.append(encode(record), record.sequence, record.event_time_us, 0.0, record.arrival_us)
        if record.sequence % RECORDS_OF_A_SEGMENT == RECORDS_OF_A_SEGMENT - 1 or record.sequence == pairs - 1:
            writer.flush()
            entry = writer.close()
            writer = None
            entries += [entry] if entry is not None else []
    manifest = Manifest(
        experiment="bench",
        incarnation="bench",
        router="bench",
        started_us=START_US,
        complete=True,
        records=pairs,
        segments=tuple(entries),
    )
    (place / MANIFEST).write_bytes(msgspec.json.encode(manifest))


def cpu() -> float:
    """Seconds of this process and of those that it has seen end."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def peak(who: int) -> float:
    """Largest resident size in MiB; on macOS it is told in bytes."""
    return resource.getrusage(who).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def measured(directory: Path, pairs: int, processes: int) -> Measured:
    """Read and judge, in this process."""
    from analysis.evidence import all_evidence
    from analysis.judging import Inputs, judge_rows
    from analysis.load import join
    from analysis.report.result import CatalogueSummary

    items, rules = catalogue(), plan()
    summary = CatalogueSummary(sha256="0" * 64, items=ITEMS, tail_items=int(items.tail.sum()))
    marks = [(time.perf_counter(), cpu())]
    rows, health = read_log(read_pairs(directory, "bench"), rules.adapter, items, processes)
    marks.append((time.perf_counter(), cpu()))
    result = judge_rows(rows, Inputs(rules, "0" * 64, items, summary), "bench", health)
    marks.append((time.perf_counter(), cpu()))
    megabytes = peak(resource.RUSAGE_SELF)
    assert result.window is not None
    assert result.window.requests == pairs // 2
    # Once more, to tell its parts apart: not in the sums.
    triples, _ = join(rows, items)
    marks.append((time.perf_counter(), cpu()))
    all_evidence(triples, rules)
    marks.append((time.perf_counter(), cpu()))
    wall, used = (np.diff([mark[place] for mark in marks]).tolist() for place in (0, 1))
    return Measured(
        pairs=pairs,
        processes=processes,
        reading=wall[0],
        reading_cpu=used[0],
        judging=wall[1],
        judging_cpu=used[1],
        joining=used[2],
        metrics=used[3],
        megabytes=megabytes,
        reader_megabytes=peak(resource.RUSAGE_CHILDREN) if processes > 1 else 0.0,
        verdict=result.verdict,
    )


def row(found: Measured) -> str:
    """One line of the table."""
    per_pair = 1e6 * (found.reading_cpu + found.judging_cpu) / found.pairs
    cells = [
        f"{found.pairs:,}",
        str(found.processes),
        f"{found.reading:.1f} ({found.reading_cpu:.1f})",
        f"{found.judging:.1f} ({found.judging_cpu:.1f}: join {found.joining:.1f}, metrics {found.metrics:.1f})",
        f"**{found.reading + found.judging:.1f}**",
        f"{per_pair:.1f} µs",
        f"{found.megabytes:.0f} + {found.processes if found.processes > 1 else 0} × {found.reader_megabytes:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def verdicts(found: list[Measured]) -> Iterator[str]:
    """Each goal, met or missed."""
    from tests.bench.router_numbers import yes

    for each in found:
        if each.pairs != 1_000_000 or each.processes != 2:
            continue
        seconds = each.reading + each.judging
        memory = each.megabytes + each.processes * each.reader_megabytes
        fast, small = seconds <= GOALS["seconds"], memory <= GOALS["megabytes"]
        yield f"- 1,000,000 pairs × {len(MEASURES)} metrics in {seconds:.1f} s; goal 10 s: {yes(fast)}"
        yield f"- with {memory:.0f} MiB in all processes; goal 1 GiB: {yes(small)}"


def main() -> None:
    """Write the logs, run each size in fresh processes, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--log", type=Path, help="keep the logs here, and use those that are here")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(msgspec.json.encode(measured(options.one, options.pairs[0], options.processes[0])).decode())
        return
    print("| pairs | processes | reading, s (CPU) | judging, s (CPU) | both, s | CPU a pair | memory, MiB |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for pairs in options.pairs:
            directory = (options.log or Path(scratch)) / str(pairs)
            if not directory.exists():
                write(directory, pairs)
            for processes in options.processes:
                command = [sys.executable, "-m", "tests.bench.gate", "--one", str(directory), "--pairs", str(pairs)]
                command += ["--processes", str(processes)]
                done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
                found.append(msgspec.json.decode(done.stdout, type=Measured))
                print(row(found[-1]), flush=True)
    print("\n" + "\n".join(verdicts(found)))


if __name__ == "__main__":
    main()
