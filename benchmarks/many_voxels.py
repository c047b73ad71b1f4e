r"""Thousands of voxels: the commands train, generate, export and validate, each with its time and peak memory.

``hepflows simulate`` makes the showers, of 6480 voxels for example::

    sim="hepflows simulate --geometry pbar45 --particle e+ --energy 1..100GeV"
    $sim -n 2000 --seed 4001 --out pbar45.h5
    $sim -n 1000 --seed 4002 --out pbar45_test.h5
    python -m benchmarks.many_voxels run --data pbar45.h5 --test pbar45_test.h5 --out runs/many \
        --config examples/calo_inductive.toml
    python -m benchmarks.many_voxels show --out benchmarks/results/many_voxels

What is done is not done again. A step that fails, or whose memory exceeds the budget, ends the run with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from benchmarks.quoting import with_error
from hepflows.benchmarking.machine import describe_machine
from hepflows.benchmarking.tables import write_json
from hepflows.errors import ConfigError, HepflowsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RESULT: Final = "result.json"
ARTEFACT: Final = "inductive"
_STEPS: Final = "steps.json"
_SHOWN: Final = (
    *("auc_low", "auc_low_normed", "auc_log", "auc_high", "auc_gbt"),
    *("separation_mean", "longitudinal_w1", "radial_w1", "layer_correlations", "fpd"),
)


def main(argv: Sequence[str] | None = None) -> int:
    options = _parse(argv)
    console = Console(stderr=True)
    try:
        if options.action == "run":
            if options.data is None or options.test is None:
                raise ConfigError("no showers", expected="--data FILE --test FILE", remedy="see hepflows simulate")
            return run(options, console)
        path = options.out / RESULT
        if not path.exists():
            raise ConfigError("nothing is measured yet", where=path, remedy="run it first")
        sys.stdout.write(text(json.loads(path.read_text(encoding="utf-8"))))
    except HepflowsError as error:
        console.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        return error.exit_code
    return 0


def run(options: argparse.Namespace, console: Console) -> int:
    """All steps that are not done yet, then the result."""
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    taken = _taken(out, _settings(options))
    for step in steps(options):
        cost = taken["steps"].get(step.name, {"seconds": 0.0, "peak_gib": 0.0, "done": False})
        if not (cost["done"] and step.product.exists()):
            command = [*step.command, *step.again] if step.begun.exists() else step.command
            console.print(f"hepflows {' '.join(command)}", soft_wrap=True, highlight=False)
            code, spent = measured(command)
            # a training that was stopped took all of its parts
            earlier = cost["seconds"] if "--resume" in command else 0.0
            peak = max(cost["peak_gib"], spent["peak_gib"])
            cost = {"seconds": round(earlier + spent["seconds"], 1), "peak_gib": round(peak, 2), "done": code == 0}
            taken["steps"][step.name] = cost
            write_json(out / _STEPS, taken, force=True)
        if not cost["done"] or cost["peak_gib"] > options.gib:
            words = "done" if cost["done"] else f"exit code {code}"
            console.print(f"{step.name}: {words}, {cost['peak_gib']:.2f} of {options.gib:g} GiB", soft_wrap=True)
            return 1
    metrics = json.loads((out / "report" / "report.json").read_text(encoding="utf-8"))
    document = json.loads((out / "trained" / ARTEFACT / "generator.json").read_text(encoding="utf-8"))
    write_json(out / RESULT, summary(metrics, document, taken), force=True)
    return 0


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        name: in the table.
        product: what is there once it is done.
        begun: what is there once it was begun.
        again: options with which it is repeated then.
        command: words after ``hepflows``.
    """

    name: str
    product: Path
    begun: Path
    again: tuple[str, ...]
    command: tuple[str, ...]


def steps(options: argparse.Namespace) -> tuple[Step, ...]:
    """The commands in their order."""
    out, test = options.out, str(options.test)
    trained, made, exported, again = (out / n for n in ("trained", "generated.h5", "inductive.onnx", "exported.h5"))
    report, artefact = out / "report", trained / ARTEFACT
    changes = tuple(word for entry in options.set or () for word in ("--set", entry))
    train = ("train", str(options.config), "--data", str(options.data), "--out", str(trained), *changes)
    like = ("--like", test, "--seed", "1", "--out")
    judge = ("validate", test, f"inductive={made}", "--out", str(report), "--training", str(options.data))
    force = ("--force",)
    return (
        Step("train", artefact, trained, ("--resume",), train),
        Step("generate", made, made, force, ("generate", str(artefact), *like, str(made))),
        Step("export", exported, exported, force, ("export", str(artefact), "--out", str(exported))),
        Step("generate, exported", again, again, force, ("generate", str(exported), *like, str(again))),
        Step("validate", report, report, force, (*judge, "--preset", options.preset)),
    )


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "data": options.data.name,
        "test": options.test.name,
        "config": options.config.name,
        "set": list(options.set or ()),
        "preset": options.preset,
    }


def _taken(out: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the steps took that are done."""
    path = out / _STEPS
    if not path.exists():
        return {"settings": dict(settings), "steps": {}}
    taken: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if taken["settings"] != settings:
        raise ConfigError("these steps have other settings", where=path, remedy="choose another --out")
    return taken


def measured(command: Sequence[str]) -> tuple[int, dict[str, float]]:
    """Exit code of a `hepflows` command, seconds of wall time and the peak of its resident memory in GiB."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "hepflows", *command])  # noqa: S603 - our own command
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    kib = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return process.returncode, {"seconds": time.perf_counter() - began, "peak_gib": kib / 2**20}


def summary(report: Mapping[str, Any], document: Mapping[str, Any], taken: Mapping[str, Any]) -> dict[str, Any]:
    """What the table shows."""
    (sample,) = report["samples"].values()
    keys = ("value", "error", "floor")
    return {
        "n_train": document["training"]["n_train"],
        "n_test": report["n_reference"],
        "preset": report["settings"]["preset"],
        **taken,
        "metrics": {name: {key: sample[name].get(key) for key in keys} for name in _SHOWN if name in sample},
        "machine": describe_machine(),
    }


def text(result: Mapping[str, Any]) -> str:
    """Markdown: what each command took, and how good the showers are."""
    lines = ["| command | seconds | peak memory [GiB] |", "|---|---|---|"]
    lines += [f"| {name} | {one['seconds']:.0f} | {one['peak_gib']:.1f} |" for name, one in result["steps"].items()]
    lines += ["", "| metric | value | floor |", "|---|---|---|"]
    for name, one in result["metrics"].items():
        floor = "" if one["floor"] is None else f"{one['floor']:.4f}"
        value = f"{one['value']:.4f}" if one["error"] is None else with_error(one["value"], one["error"])
        lines.append(f"| `{name}` | {value} | {floor} |")
    return "\n".join(lines) + "\n"


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "show"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="showers that train")
    parser.add_argument("--test", type=Path, help="showers that are compared with")
    parser.add_argument("--config", type=Path, default=Path("examples/calo_inductive.toml"))
    parser.add_argument("--preset", default="quick", help="of the validation (default: quick)")
    parser.add_argument("--gib", type=float, default=8.0, help="budget of memory (default: 8 GiB)")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="entry of the configuration")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
