"""Flows for flows on sets in the plane: how well five methods morph each into each, and how far they move points.

All pairs of four circles, star and checkerboard, identical and different, without and with a condition (an angle that
turns both sets), after arXiv:2211.02487. The divergence (`benchmarks.plane_sets.jensen_shannon`) is between morphed and
new target points; its floor between two sets of new target points. The densities of a pair are trained once::

    python -m benchmarks.morphing run --out runs/morphing             # as often as it takes: it goes on
    python -m benchmarks.morphing show --out runs/morphing > table.md
    python -m benchmarks.morphing draw --out runs/morphing            # figures of all pairs
    python -m benchmarks.morphing run --out runs/seed2 --pairs four_circles:star --seed 2
    python -m benchmarks.morphing spread --out runs/morphing --others runs/seed2    # of pairs that all have
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console

from benchmarks.morphing_figures import draw_pair
from benchmarks.plane_sets import SHAPES, jensen_shannon, plane_table, upright
from hepflows.commands.options import terminal_reporter
from hepflows.config import build, with_overrides
from hepflows.errors import ConfigError, HepflowsError
from hepflows.files import atomic_file
from hepflows.morphing.artefact import Morphing
from hepflows.morphing.config import METHODS, MorphingConfig
from hepflows.morphing.morph import fit_morphing
from hepflows.train.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hepflows.feature_table import FeatureTable

KINDS = {"unconditional": False, "conditional": True}
_DENSITIES = "base_transfer"  # trained first: it is nothing but the densities


@dataclass(frozen=True)
class Pair:
    """One pair of sets."""

    kind: str
    source: str
    target: str

    def directory(self, out: Path) -> Path:
        """Where the pair's results are."""
        return out / self.kind / f"{self.source}-to-{self.target}"

    def sets(self, n: int, seed: int) -> tuple[FeatureTable, FeatureTable]:
        """Draw n points of both, independent even if the shapes are the same."""
        conditional = KINDS[self.kind]
        return (
            plane_table(self.source, n, 2 * seed, conditional=conditional),
            plane_table(self.target, n, 2 * seed + 1, conditional=conditional),
        )


def main(argv: Sequence[str] | None = None) -> int:
    options = _parse(argv)
    try:
        if options.action == "show":
            sys.stdout.write(table(options.out))
        elif options.action == "spread":
            if not options.others:
                raise ConfigError("a spread needs other seeds", expected="--others DIRECTORY ...")
            sys.stdout.write(spread([options.out, *options.others]))
        elif options.action == "draw":
            draw(options)
        else:
            run(options)
    except HepflowsError as error:
        Console(stderr=True).print(f"error: {error}", markup=False, highlight=False)
        return error.exit_code
    return 0


def run(options: argparse.Namespace) -> None:
    """Train and measure what is missing."""
    torch.set_num_threads(1)
    reporter = terminal_reporter()
    for pair in pairs(options):
        train_sets = pair.sets(options.points, options.seed)
        for method in (_DENSITIES, *(name for name in options.methods if name != _DENSITIES)):
            directory = pair.directory(options.out) / method
            if (directory / "result.json").exists():
                continue
            reporter.message(f"{pair.kind}: {pair.source} to {pair.target}, {method}")
            densities = None if method == _DENSITIES else Morphing.load(pair.directory(options.out) / _DENSITIES)
            began = time.process_time()
            entries = {"method": method, "seed": options.seed, "penalty": options.penalty, **_schedules(options)}
            config = build(MorphingConfig, with_overrides(entries, options.set or ()), where="--set")
            work = Run(directory=directory / "training", resume=True, reporter=reporter)
            morphing = fit_morphing(*train_sets, config, densities=densities, run=work)
            morphing.save(directory, force=True)
            _write(directory / "result.json", measure(morphing, pair, options.test, time.process_time() - began))


def measure(morphing: Morphing, pair: Pair, n: int, seconds: float) -> dict[str, Any]:
    """Divergence and distance over n new points of each set."""
    source, target = pair.sets(n, 1000)
    other = pair.sets(n, 2000)[1]
    morphed = morphing.apply(source, seed=1, out_of_range="clamp")
    moved = np.linalg.norm(morphed.values - source.values, axis=1)
    return {
        "pair": [pair.source, pair.target],
        "n": n,
        "jsd": jensen_shannon(upright(morphed), upright(target)),
        "jsd_before": jensen_shannon(upright(source), upright(target)),
        "jsd_floor": jensen_shannon(upright(other), upright(target)),
        "moved": {"value": float(moved.mean()), "error": float(moved.std() / np.sqrt(n))},
        "training_cpu_seconds": seconds,
        "config": morphing.document.config,
    }


def pairs(options: argparse.Namespace) -> Iterator[Pair]:
    """All pairs that are asked for."""
    for kind in options.kinds:
        for source in options.shapes:
            for target in options.shapes:
                if not options.pairs or f"{source}:{target}" in options.pairs:
                    yield Pair(kind, source, target)


def table(out: Path) -> str:
    """Markdown of everything measured so far: divergence x 1e3 and distance moved."""
    names = [method.replace("_", " ") for method in METHODS]
    lines = []
    for kind in KINDS:
        rows = []
        for source in SHAPES:
            for target in SHAPES:
                pair = Pair(kind, source, target)
                found: dict[str, Any] = {m: entry for m in METHODS if (entry := _result(pair, out, m))}
                if found:
                    rows.append(_row(source, target, found))
        if rows:
            head = ["", "before", "floor", *names]
            lines += [
                f"{kind}: JSD x1e3 / distance moved",
                "",
                "| " + " | ".join(head) + " |",
                "|---" * len(head) + "|",
            ]
            lines += [*rows, ""]
    return "\n".join(lines) + "\n" if lines else "nothing measured yet\n"


def spread(outs: Sequence[Path]) -> str:
    """Markdown: mean and standard deviation of divergence x 1e3 and distance moved over runs with different seeds."""
    names = [method.replace("_", " ") for method in METHODS]
    _require_seeds(outs)
    lines = [f"| JSD x1e3 / distance moved, {len(outs)} seeds | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for pair in (Pair(kind, source, target) for kind in KINDS for source in SHAPES for target in SHAPES):
        runs = [{method: _result(pair, out, method) for method in METHODS} for out in outs]
        if not all(entry for run in runs for entry in run.values()):
            continue
        cells = []
        for method in METHODS:
            found: list[Any] = [run[method] for run in runs]
            jsd, moved = 1e3 * np.array([one["jsd"] for one in found]), [one["moved"]["value"] for one in found]
            cells.append(
                f"{jsd.mean():.1f} ± {jsd.std(ddof=1):.1f} / {np.mean(moved):.3f} ± {np.std(moved, ddof=1):.3f}"
            )
        name = f"{pair.source} to {pair.target}, {pair.kind}".replace("_", " ")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _require_seeds(outs: Sequence[Path]) -> None:
    """Refuse runs that differ in anything but their seeds, or do not differ in these."""
    paths = [next(out.rglob("result.json"), None) for out in outs]
    if None in paths:
        raise ConfigError("nothing is measured here", where=outs[paths.index(None)], remedy="run it first")
    configs = [json.loads(path.read_text(encoding="utf-8"))["config"] for path in paths if path is not None]
    seeds, others = {c["seed"] for c in configs}, {json.dumps({**c, "seed": 0, "method": ""}) for c in configs}
    if len(seeds) != len(outs) or len(others) > 1:
        raise ConfigError(
            "these are not runs with the same settings and different seeds",
            where=", ".join(map(str, outs)),
            found=f"seeds {', '.join(map(str, sorted(seeds)))}, {len(others)} settings",
        )


def _result(pair: Pair, out: Path, method: str) -> dict[str, Any] | None:
    path = pair.directory(out) / method / "result.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def draw(options: argparse.Namespace) -> None:
    """One figure a pair: source, target, and what each method makes of the source."""
    for pair in pairs(options):
        directory = pair.directory(options.out)
        trained = {m: directory / m for m in METHODS if (directory / m / "result.json").exists()}
        if trained:
            source, target = pair.sets(options.test, 1000)
            morphed: dict[str, FeatureTable] = {
                m: Morphing.load(path).apply(source, seed=1, out_of_range="clamp") for m, path in trained.items()
            }
            path = options.out / "figures" / f"{pair.kind}-{pair.source}-{pair.target}.png"
            draw_pair(source, target, morphed, path)
            Console(stderr=True).print(str(path), soft_wrap=True)


def _row(source: str, target: str, found: dict[str, dict[str, Any]]) -> str:
    one = next(iter(found.values()))
    cells = [
        f"{source} to {target}".replace("_", " "),
        f"{1e3 * one['jsd_before']:.1f}",
        f"{1e3 * one['jsd_floor']:.1f}",
    ]
    for method in METHODS:
        entry = found.get(method)
        cells.append("" if entry is None else f"{1e3 * entry['jsd']:.1f} / {entry['moved']['value']:.3f}")
    return "| " + " | ".join(cells) + " |"


def _schedules(options: argparse.Namespace) -> dict[str, Any]:
    common = {"batch_size": options.batch, "learning_rate": options.learning_rate, "schedule": "cosine"}
    return {
        "base_training": {**common, "epochs": options.base_epochs},
        "transport_training": {**common, "epochs": options.epochs},
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    with atomic_file(path, force=True) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "show", "draw", "spread"))
    parser.add_argument("--out", type=Path, required=True, help="directory of all cells")
    parser.add_argument("--others", type=Path, nargs="+", default=[], help="spread: directories of other seeds")
    parser.add_argument("--points", type=int, default=100_000, help="training points of each set (default: 100000)")
    parser.add_argument("--test", type=int, default=100_000, help="new points that are measured (default: 100000)")
    parser.add_argument("--base-epochs", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=64, help="of the transport")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--penalty", type=float, default=1.0, help="weight of the distance (default: 1)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", type=_names, default=tuple(KINDS), help="unconditional,conditional")
    parser.add_argument("--shapes", type=_names, default=tuple(SHAPES), help=f"default: {','.join(SHAPES)}")
    parser.add_argument("--pairs", type=_names, default=(), help="SOURCE:TARGET,... (default: all)")
    parser.add_argument("--methods", type=_names, default=METHODS, help=f"default: {','.join(METHODS)}")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="entry of the configuration")
    options = parser.parse_args(argv)
    for given, known in ((options.kinds, KINDS), (options.shapes, SHAPES), (options.methods, METHODS)):
        if unknown := set(given) - set(known):
            parser.error(f"{', '.join(sorted(unknown))} is not one of {', '.join(known)}")
    return options


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


if __name__ == "__main__":
    sys.exit(main())
