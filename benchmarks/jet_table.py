"""The table of jet generators: all variants on gluon, light-quark and top jets, every metric with its floor.

HEPFLOWS_DATA names a directory with jets/g.hdf5, q.hdf5 and t.hdf5 (JetNet layout); the last 20 % of each file is
only compared with. Each cell is trained for the same processor time of one core::

    python -m benchmarks.jet_table run --out runs/jets --minutes 8            # as often as it takes: it goes on
    python -m benchmarks.jet_table show --out runs/jets > table.md

``--jetnet PYTHON`` adds the Frechet ParticleNet distance, computed by the interpreter of an environment with jetnet
(``make .venv-jetnet/.ready``). Two runs beside each other may share the cells by ``--kinds`` or ``--variants``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

import jetgen as jg
from benchmarks.jet_measures import Measurer, sizes
from benchmarks.jet_runs import TRAINED_PART, Cell, data_file, load, train
from benchmarks.jet_table_text import COLUMNS, table
from hepflows.benchmarking.machine import describe_machine
from hepflows.commands.options import terminal_reporter
from hepflows.errors import ConfigError, HepflowsError, MissingDependencyError
from hepflows.files import atomic_file
from jetgen.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KINDS = ("g", "q", "t")
SEED = 7
FPND_JETS = 10_000
"""Jets of each sample for the Frechet ParticleNet distance, whose bias depends on their number."""
_MACHINE = ("cpu", "cores", "python", "versions", "torch_threads")
_FPND = Path(__file__).parent.parent / "tests" / "reference" / "frechet_particlenet.py"


def main(argv: Sequence[str] | None = None) -> int:
    options = _parse(argv)
    try:
        if options.action == "show":
            sys.stdout.write(table(collect(options.out), options.metrics))
        else:
            run(options)
    except HepflowsError as error:
        Console(stderr=True).print(f"error: {error}", markup=False, highlight=False)
        return error.exit_code
    return 0


def run(options: argparse.Namespace) -> None:
    """Train, generate and measure what is missing."""
    if options.jetnet and shutil.which(options.jetnet) is None:
        raise ConfigError("there is no such interpreter", where="--jetnet", found=options.jetnet)
    torch.set_num_threads(1)
    console = Console(stderr=True)
    reporter = terminal_reporter()
    for variant in options.variants:
        for kind in options.kinds:
            cell = Cell(kind=kind, variant=variant, directory=options.out / kind / variant)
            if (cell.directory / "result.json").exists():
                continue
            plan = train(cell, minutes=options.minutes, settings=options.set or (), reporter=reporter)
            measure(cell, plan, options)
            console.print(f"{kind} {variant}: {cell.directory / 'result.json'}", soft_wrap=True)


def measure(cell: Cell, plan: Mapping[str, Any], options: argparse.Namespace) -> None:
    """Compare a cell's jets with held-out ones and write ``result.json``; the floor, once a class."""
    reference = jg.read_jets(data_file(cell.kind), part=(TRAINED_PART[1], 1.0))
    measurer = Measurer(reference)
    floor_path = cell.directory.parent / "floor.json"
    if not floor_path.exists():
        real = jg.read_jets(data_file(cell.kind), part=TRAINED_PART)
        floor = {**sizes(reference, real), "metrics": measurer(real)}
        if options.jetnet:
            floor["metrics"]["fpnd"] = _fpnd(data_file(cell.kind), TRAINED_PART, cell, options.jetnet)
        _write(floor_path, floor)
    generated = cell.directory / "generated.h5"
    generator = load(cell)
    n = options.generated
    generator.sample(n=1, seed=SEED)  # kernels compile at their first use
    began = time.process_time()
    jets = generator.sample(n=n, seed=SEED)
    sampling_ms = 1000 * (time.process_time() - began) / n
    jg.write_jets(jets, generated, force=True)
    metrics = measurer(jets)
    if options.jetnet:
        metrics["fpnd"] = _fpnd(generated, (0.0, 1.0), cell, options.jetnet)
    result = {
        "kind": cell.kind,
        "variant": cell.variant,
        "training": plan,
        "sampling_cpu_ms": sampling_ms,
        **sizes(reference, jets),
        "metrics": metrics,
        "machine": {name: value for name, value in describe_machine().items() if name in _MACHINE},
    }
    _write(cell.directory / "result.json", result)


def collect(out: Path) -> dict[str, dict[str, Any]]:
    """Everything measured so far: class -> ``floor`` and variants."""
    found: dict[str, dict[str, Any]] = {}
    for kind in KINDS:
        files = {"floor": out / kind / "floor.json"} | {v: out / kind / v / "result.json" for v in PRESETS}
        entries = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in files.items() if path.exists()}
        if entries:
            found[kind] = entries
    return found


def _fpnd(sample: Path, part: tuple[float, float], cell: Cell, python: str) -> dict[str, float]:
    """Frechet ParticleNet distance to the held-out jets, in the environment that has jetnet."""
    reference, kept = data_file(cell.kind), cell.directory.parent / "particlenet.npz"
    held_out = f"{TRAINED_PART[1]}:1"
    place = f"sample={sample}@{part[0]}:{part[1]}"
    command = [python, str(_FPND), str(reference), place, "--part", held_out, "--whole", "--first", str(FPND_JETS)]
    command += ["--keep", str(kept)]
    # glibc would give large blocks back to the system after every batch, and take half of the time for it
    own = {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**32)}
    answer = subprocess.run(  # noqa: S603 - the user's own interpreter
        command, check=False, capture_output=True, text=True, env=os.environ | own
    )
    if answer.returncode:
        raise MissingDependencyError(
            "the Frechet ParticleNet distance could not be computed",
            where="--jetnet",
            found=answer.stderr.strip().rpartition("\n")[2] or f"exit code {answer.returncode}",
            remedy="name an interpreter with tests/reference/requirements.txt installed, and run again: it goes on",
        )
    entry = json.loads(answer.stdout)["sample"]
    return {"value": entry["fpnd"], "error": entry["error"]}


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "show"))
    parser.add_argument("--out", type=Path, required=True, help="directory of all cells")
    parser.add_argument("--minutes", type=float, default=8.0, help="processor time of each training (default: 8)")
    parser.add_argument("--generated", type=int, default=40_000, help="jets of each sample (default: 40000)")
    parser.add_argument("--kinds", type=_names, default=KINDS, help="classes of jets (default: g,q,t)")
    parser.add_argument("--variants", type=_names, default=tuple(PRESETS), help="presets (default: all)")
    parser.add_argument("--metrics", type=_metrics, default=tuple(COLUMNS), help="columns of `show` (default: all)")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="entry of the configuration")
    parser.add_argument("--jetnet", metavar="PYTHON", help="interpreter with jetnet, for FPND")
    return parser.parse_args(argv)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _metrics(text: str) -> tuple[str, ...]:
    names = _names(text)
    if set(names) - set(COLUMNS):
        raise argparse.ArgumentTypeError(f"metrics are {', '.join(COLUMNS)}")
    return names


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with atomic_file(path, force=True) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
