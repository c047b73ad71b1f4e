"""Studies of jet generators: what splines, few constituents, conditions, a mass window and oversampling do.

They follow those of arXiv:2211.13630, on one class of jets. HEPFLOWS_DATA names a directory with jets/g.hdf5,
q.hdf5 and t.hdf5 (JetNet layout); the last 20 % of each file is only compared with::

    python -m benchmarks.jet_studies run transform --out runs/studies --minutes 8    # as often as it takes: it goes on
    python -m benchmarks.jet_studies run window --out runs/studies --cells runs/jets --window 0.08:0.1
    python -m benchmarks.jet_studies show --out runs/studies > studies.md

* ``transform``: CNF(m, n) with affine couplings against splines, trained for the same time.
* ``constituents``: the mass of jets that are cut to their 2 ... 30 hardest constituents, VNF and exact.
* ``condition``: how the masses of generators of the jet table (``--cells``) follow their conditions.
* ``window``: jets of the same generators with conditions in a narrow window of the relative mass.
* ``constraint``: CNF(m, n) of the jet table with its masses free and made exact, on samples of the same noise.
* ``oversampling``: 1, 10 and 100 times as many jets as the generator was trained on, and whether it repeats those.

Two runs beside each other may share an output directory if they run different studies.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console

from benchmarks.jet_studies_runs import STUDIES
from benchmarks.jet_studies_settings import Settings, collect
from benchmarks.jet_studies_text import tables
from benchmarks.jet_table import KINDS
from hepflows.config import did_you_mean
from hepflows.errors import ConfigError, HepflowsError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    options = _parse(argv)
    try:
        if options.action == "show":
            sys.stdout.write(tables(collect(options.out)))
        else:
            run(options)
    except HepflowsError as error:
        Console(stderr=True).print(f"error: {error}", soft_wrap=True, markup=False, highlight=False)
        return error.exit_code
    return 0


def run(options: argparse.Namespace) -> None:
    """Do what is missing of a study."""
    if options.study not in STUDIES:
        hint = did_you_mean(options.study, STUDIES)
        raise ConfigError(f"unknown study{hint}", expected=", ".join(STUDIES), found=options.study)
    torch.set_num_threads(1)
    settings = Settings(
        out=options.out,
        kind=options.kind,
        minutes=options.minutes,
        overrides=tuple(options.set or ()),
        generated=options.generated,
        real=options.real,
        classifier=not options.no_classifier,
        particles=options.particles,
        cells=options.cells,
        window=parse_window(options.window),
        first=options.first,
    )
    STUDIES[options.study](settings)


def parse_window(text: str) -> tuple[float, float]:
    """Read ``0.08:0.1``, relative masses.

    Raises:
        ConfigError: it is not of this form, or not a positive, rising range.
    """
    low, _, high = text.partition(":")
    try:
        window = (float(low), float(high))
    except ValueError:
        window = (0.0, 0.0)
    if not 0.0 < window[0] < window[1] < float("inf"):
        raise ConfigError("not a mass window", where="--window", expected="LOW:HIGH, say 0.08:0.1", found=text)
    return window


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    show = actions.add_parser("show", help="all results as Markdown")
    run_ = actions.add_parser("run", help="one study")
    run_.add_argument("study", metavar="STUDY", help=", ".join(STUDIES))
    for action in (show, run_):
        action.add_argument("--out", type=Path, required=True, help="directory of all results")
    given = Settings(out=Path())
    run_.add_argument("--kind", choices=KINDS, default=given.kind, help="class of jets (default: t)")
    run_.add_argument("--minutes", type=_positive, default=given.minutes, help="processor time of each training")
    run_.add_argument("--set", action="append", metavar="KEY=VALUE", help="entry of the configuration")
    run_.add_argument("--generated", type=_count, help="jets of each sample (default: what the study needs)")
    run_.add_argument("--real", type=_count, help="at most so many real jets on each side of a comparison")
    run_.add_argument("--no-classifier", action="store_true", help="transform: leave the AUC out")
    run_.add_argument("--particles", type=_counts, default=given.particles, help="constituents: 2,3,5 say")
    run_.add_argument("--cells", type=Path, help="condition, window, constraint: output directory of the jet table")
    run_.add_argument("--window", default="0.08:0.1", help="window: relative masses (default: 0.08:0.1)")
    run_.add_argument("--first", type=_count, default=given.first, help="oversampling: training jets (default: 4000)")
    return parser.parse_args(argv)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_count(part) for part in text.split(","))


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


if __name__ == "__main__":
    raise SystemExit(main())
