"""What the benchmark commands share: options, a clean environment, threads, and writing results."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.text import Text

from benchmarks.peers import PEERS
from hepflows.benchmarking.artefact import SCHEMA
from hepflows.benchmarking.machine import LIBRARIES, describe_machine
from hepflows.benchmarking.tables import write_json
from hepflows.benchmarking.timing import QUICK, THOROUGH, Effort
from hepflows.errors import HepflowsError
from hepflows.files import check_output

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

_SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
_UNSET = "HEPFLOWS_BENCHMARK_UNSET"
BAD_INPUT = 2
QUICK_PEER = "nflows"
"""The library that CaloFlow was written with."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every benchmark is told.

    Attributes:
        batches: events a call.
        threads: CPU threads of torch and of our engine.
        quick: fewer repeats and smaller batches.
        peers: libraries to compare with.
        seed: of weights and inputs.
        plot: picture to draw, or None.
        json: file for all figures, or None.
        more: further options of one benchmark by name.
    """

    batches: tuple[int, ...]
    threads: int
    quick: bool
    peers: tuple[str, ...]
    seed: int
    plot: Path | None
    json: Path | None
    more: Mapping[str, Any]

    @property
    def effort(self) -> Effort:
        """How long things are timed."""
        return QUICK if self.quick else THOROUGH

    def header(self, name: str) -> dict[str, Any]:
        """First entries of the results: what was measured, and where."""
        return {
            "schema": SCHEMA,
            "benchmark": name,
            "machine": describe_machine(libraries=(*LIBRARIES, *PEERS)),
            "unset_variables": os.environ.get(_UNSET, "").split() or None,
            "settings": {
                "batches": list(self.batches),
                "threads": self.threads,
                "dtype": "float32",
                "quick": self.quick,
                "peers": list(self.peers),
                "seed": self.seed,
            },
        }


def parse(
    description: str,
    argv: Sequence[str] | None,
    *,
    batches: tuple[int, ...],
    quick_batches: tuple[int, ...],
    peers: bool = True,
    add: Callable[[argparse.ArgumentParser], None] | None = None,
) -> Options:
    """Read the command line.

    Args:
        description: of the benchmark.
        argv: arguments; those of the process if None.
        batches: events a call, if nothing is said.
        quick_batches: the same with ``--quick``.
        peers: whether there are libraries to compare with.
        add: adds further options.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="picture of time against batch")
    parser.add_argument("--quick", action="store_true", help="fewer repeats, smaller batches")
    parser.add_argument("--threads", type=_positive, default=1, help="CPU threads (default: 1)")
    parser.add_argument("--batch", type=numbers, help=f"events a call (default: {','.join(map(str, batches))})")
    if peers:
        parser.add_argument(
            "--peers",
            type=_names,
            help=f"libraries of {','.join(PEERS)}, or none (default: all; {QUICK_PEER} with --quick)",
        )
    parser.add_argument("--seed", type=int, default=1)
    if add is not None:
        add(parser)
    given = vars(parser.parse_args(argv))
    chosen = given.pop("batch") or (quick_batches if given["quick"] else batches)
    chosen_peers = given.pop("peers", None if peers else ())
    if chosen_peers is None:
        chosen_peers = (QUICK_PEER,) if given["quick"] else PEERS
    own = {name: given.pop(name) for name in ("json", "plot", "quick", "threads", "seed")}
    return Options(batches=chosen, peers=chosen_peers, more=given, **own)


def add_architecture(parser: argparse.ArgumentParser) -> None:
    """Options of the autoregressive reference flow."""
    parser.add_argument("--features", type=_positive, default=504)
    parser.add_argument("--hidden", type=numbers, default=(378, 378), help="widths of the hidden layers")
    parser.add_argument("--blocks", type=_positive, default=8)
    parser.add_argument("--degrees", choices=("sequential", "even"), default="sequential")


def numbers(text: str) -> tuple[int, ...]:
    """Read ``1,16,100``."""
    return tuple(_positive(part) for part in text.split(","))


def run(
    name: str,
    options: Options,
    work: Callable[[Options], dict[str, Any]],
    *,
    show: Callable[[Mapping[str, Any]], None],
    draw: Callable[[Mapping[str, Any], Path], None],
) -> int:
    """Run one benchmark in a clean environment, show its results, keep and draw them if asked.

    Args:
        name: of the benchmark.
        options: read from the command line.
        work: measures.
        show: prints tables of the results.
        draw: writes a picture of the results.

    Returns:
        Exit code: 0, or 2 if a file cannot be written or an option does not fit.
    """
    unset_slowing_variables()
    torch.set_num_threads(options.threads)
    try:
        for path in (options.json, options.plot):
            if path is not None:
                check_output(path, force=True)
        found = work(options)
        results = {**options.header(name), **found}  # by now all libraries are loaded, and so described
        show(results)
        if options.json is not None:
            write_json(options.json, results, force=True)
        if options.plot is not None:
            draw(results, options.plot)
    except HepflowsError as error:
        Console(stderr=True).print(Text(str(error), style="bold red"), soft_wrap=True)
        return BAD_INPUT
    return 0


def unset_slowing_variables() -> None:
    """Start this process anew without variables that make numpy's OpenBLAS use another processor's kernels."""
    present = [name for name in _SLOWING if name in os.environ]
    if present:
        environment = {key: value for key, value in os.environ.items() if key not in present}
        environment[_UNSET] = " ".join(f"{name}={os.environ[name]}" for name in present)
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606 - ourselves again


def say(text: str) -> None:
    """A line about what is going on, on standard error."""
    Console(stderr=True).print(Text(text, style="dim"), soft_wrap=True)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name for name in text.split(",") if name and name != "none")
    if unknown := set(names) - set(PEERS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))} is not one of {', '.join(PEERS)}")
    return names


def among(known: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """Type of an option that takes some of the known names, with commas."""

    def names(text: str) -> tuple[str, ...]:
        chosen = tuple(text.split(","))
        if set(chosen) - set(known):
            raise argparse.ArgumentTypeError(f"choose from {', '.join(known)}")
        return chosen

    return names


def file_of(known: Collection[str]) -> Callable[[str], tuple[str, Path]]:
    """Type of an option NAME=FILE with one of the known names."""

    def named(text: str) -> tuple[str, Path]:
        name, separator, path = text.partition("=")
        if name not in known or not separator:
            raise argparse.ArgumentTypeError(f"NAME=FILE with one of {', '.join(known)}")
        return name, Path(path)

    return named
