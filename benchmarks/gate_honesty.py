"""How often do the default gates reject events of the simulation itself?

python -m benchmarks.gate_honesty                      100 splits of the packaged showers and jets
python -m benchmarks.gate_honesty --only showers --seeds 20 --json gates.json

Each seed splits the packaged events at random: a third are "training" events, a third of what is left plays the
generator (all of it is simulation), the rest is the reference. The default gates of a preset are applied to every
metric except those of classifiers (and, unless --slow is given, the matching, Frechet and kernel distances of jets).
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.event_rows import RowDomain
from hepflows import registry
from hepflows.files import atomic_file
from validation.comparison import compare
from validation.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.event_rows import Rows
    from validation.gates import GateOutcome

TASKS = {"showers": "calofast", "jets": "jetgen"}
WANTED = 0.95


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(TASKS))
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--replicas", type=int, default=0, help="bootstrap replicas; 0 for the preset's")
    parser.add_argument("--slow", action="store_true", help="also the distances of jets that take seconds")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    found: dict[str, Any] = {}
    good = True
    for kind in [given.only] if given.only else list(TASKS):
        domain, rows = packaged(kind, quick=not given.slow)
        start = time.perf_counter()
        seeds = range(given.first_seed, given.first_seed + given.seeds)
        outcomes = [
            outcomes_of(domain, rows, seed=seed, preset=given.preset, replicas=given.replicas) for seed in seeds
        ]
        found[kind] = summary(outcomes)
        passed = found[kind]["passed"]
        good = good and passed >= WANTED * given.seeds
        print(f"{kind}: {passed} of {given.seeds} pass all {len(outcomes[0])} gates", end=" ")
        print(f"({time.perf_counter() - start:.0f} s)")
        for name, count in found[kind]["failures"].items():
            print(f"  {name}: fails {count} times")
        closest = sorted(found[kind]["closest"].items(), key=lambda item: -item[1])[:8]
        print("  closest to the limit, excess / limit:", ", ".join(f"{name} {share:.2f}" for name, share in closest))
    if given.json is not None:
        with atomic_file(given.json, force=True) as temporary:
            temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0 if good else 1


def packaged(kind: str, *, part: tuple[float, float] = (0.0, 1.0), quick: bool = True) -> tuple[RowDomain, Rows]:
    """Packaged showers or jets with their observables."""
    task = registry.task(TASKS[kind])
    demo = task.demo
    assert demo is not None
    return RowDomain.of(task.domain, task.read(demo.data_path, part=part), quick=quick)


def outcomes_of(
    domain: RowDomain, rows: Rows, *, seed: int, preset: str = "quick", replicas: int = 0
) -> tuple[GateOutcome, ...]:
    """The default gates on one random split of events of the simulation."""
    order = np.random.default_rng(seed).permutation(len(rows))
    third, step = len(rows) // 3, 2 * len(rows) // 9
    training, generated, reference = (np.sort(part) for part in np.split(order, [third, third + step]))
    settings = Settings(preset=preset, trainings=0, replicas=replicas, default_gates=True, seed=seed)
    return compare(
        rows.select(reference), rows.select(generated), domain, settings=settings, training=rows.select(training)
    ).gates


def summary(outcomes: Sequence[Sequence[GateOutcome]]) -> dict[str, Any]:
    """How many splits pass all gates, which gates fail, and how near to its limit each gate comes."""
    failures = Counter(gate.metric for gates in outcomes for gate in gates if not gate.passed)
    closest: dict[str, float] = {}
    for gate in (gate for gates in outcomes for gate in gates):
        if gate.limit > 0:
            closest[gate.metric] = max(closest.get(gate.metric, 0.0), gate.excess / gate.limit)
    return {
        "passed": sum(all(gate.passed for gate in gates) for gates in outcomes),
        "seeds": len(outcomes),
        "failures": dict(failures.most_common()),
        "closest": closest,
    }


if __name__ == "__main__":
    raise SystemExit(main())
