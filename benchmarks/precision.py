"""Exactness on trained weights: the one-pass engine and the plain loop in single precision, against double.

python -m benchmarks.precision runs/eplus/teacher --json precision.json

Flow II of a saved calorimeter generator is evaluated in the direction in which dimensions follow one another: a
teacher is sampled, a student's latent points are found. The plain loop takes D passes a block, minutes for 504
dimensions. Whole showers are compared as well, one pass in single against one pass in double precision.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.text import Text

from benchmarks.exactness import by_passes
from calofast.generator import CaloGenerator
from hepflows.benchmarking.artefact import SCHEMA
from hepflows.benchmarking.machine import describe_machine
from hepflows.benchmarking.tables import table, write_json
from hepflows.errors import HepflowsError
from hepflows.files import check_output
from hepflows.philox import normal_noise, uniform_noise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from calofast.caloflow import CaloFlowModel

SHARES = {"median": 0.5, "share_99.9": 0.999, "maximum": 1.0}
VALUES = 100_000
"""Values that the loop is compared on, at least."""

BAD_INPUT = 2


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artefact", type=Path, help="directory of a trained teacher or student")
    parser.add_argument("--events", type=int, help=f"events for the loop (default: {VALUES} values, with --quick 32)")
    parser.add_argument("--showers", type=int, default=2000, help="showers to compare as a whole")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="few events")
    parser.add_argument("--json", type=Path, help="file for all figures")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    try:
        if options.json is not None:
            check_output(options.json, force=True)
        generator = CaloGenerator.load(options.artefact)
        events = options.events or (32 if options.quick else -(-VALUES // generator.model.n_voxels))
        found = {
            "schema": SCHEMA,
            "benchmark": "precision",
            "machine": describe_machine(),
            "generator": {"kind": generator.kind, "features": generator.model.n_voxels, "threads": options.threads},
            **errors_of_flow(generator.model, events, seed=options.seed),
            **errors_of_showers(generator.model, 256 if options.quick else options.showers, seed=options.seed),
        }
        show(found)
        if options.json is not None:
            write_json(options.json, found, force=True)
    except HepflowsError as error:
        Console(stderr=True).print(Text(str(error), style="bold red"), soft_wrap=True)
        return BAD_INPUT
    return 0


@torch.no_grad()
def errors_of_flow(model: CaloFlowModel, events: int, *, seed: int) -> dict[str, Any]:
    """Errors of values and log-determinants in the space of the flow, standardised units.

    Every result is compared with the one-pass result in float64 for the same float32 arguments; that one with the
    plain loop in float64, on a sixteenth of the events.
    """
    exact = copy.deepcopy(model).double()
    noise, conditions = _inputs(model, events, seed)
    latent = noise[:, model.n_totals :]
    totals = exact.sample_layers(noise[:, : model.n_totals].double(), conditions.double())
    context = exact.context(conditions.double(), totals).float()
    given = latent if model.kind == "teacher" else exact.shower_flow.inverse(latent.double(), context.double())[0]
    given = given.float()

    def one_pass(which: CaloFlowModel, given: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        flow = which.shower_flow
        return flow.inverse(given, context) if model.kind == "teacher" else flow(given, context)

    truth = one_pass(exact, given.double(), context.double())
    results = {"one pass": one_pass(model, given, context), "plain loop": by_passes(model.shower_flow, given, context)}
    few = slice(0, max(1, events // 16))
    slow = by_passes(exact.shower_flow, given[few].double(), context[few].double())
    return {
        "events": events,
        "values": truth[0].numel(),
        "direction": "noise to data" if model.kind == "teacher" else "data to noise",
        "float32": {
            name: {"values": _shares(found[0] - truth[0]), "log_det": _shares(found[1] - truth[1])}
            for name, found in results.items()
        },
        "float64": {
            "events": len(slow[0]),
            "max_relative_error": float(((slow[0] - truth[0][few]).abs() / slow[0].abs().clamp_min(1)).max()),
            "max_log_det_error": float((slow[1] - truth[1][few]).abs().max()),
        },
    }


@torch.no_grad()
def errors_of_showers(model: CaloFlowModel, showers: int, *, seed: int) -> dict[str, Any]:
    """Voxels of both stages, single against double precision.

    A voxel next to a threshold, or an element next to a knot, may fall on its other side; such voxels are counted.
    """
    exact = copy.deepcopy(model).double()
    noise, conditions = _inputs(model, showers, seed)
    single = model.sample(noise, conditions).double()
    double = exact.sample(noise.double(), conditions.double())
    difference = (single - double).abs()
    off = (difference > 0.01 * double) & (difference > 0.1)
    return {
        "showers": {
            "n": showers,
            "voxels_mev": _shares(difference),
            "voxels_off_by_1_percent_and_0.1_mev": int(off.sum()),
            "voxels": difference.numel(),
        }
    }


def _inputs(model: CaloFlowModel, events: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise (N, F + V) and conditions (N, C), uniform in the trained range."""
    low, high = model.conditions.low, model.conditions.high
    uniform = torch.from_numpy(uniform_noise(seed, 0, events, len(low), stream=1)).float()
    return torch.from_numpy(normal_noise(seed, 0, events, model.noise_dim)), low + (high - low) * uniform


def _shares(difference: Tensor) -> dict[str, float]:
    errors = difference.double().abs().flatten().sort().values
    last = len(errors) - 1
    return {name: float(errors[round(share * last)]) for name, share in SHARES.items()}


def show(found: Mapping[str, Any]) -> None:
    """Print the figures as tables."""
    console = Console()
    rows = [
        [f"{name}, {what.replace('_', ' ')}", *(f"{value:.1e}" for value in errors[what].values())]
        for what in ("values", "log_det")
        for name, errors in found["float32"].items()
    ]
    generator, exact, showers = found["generator"], found["float64"], found["showers"]
    console.print(
        table(
            f"{generator['kind']}, {generator['features']} dimensions, {found['direction']}: error in float32, "
            f"{found['values']} values of {found['events']} events",
            ["", "median", "99.9 %", "maximum"],
            rows,
        )
    )
    console.print(
        Text(
            f"float64 against the plain loop, {exact['events']} events: values {exact['max_relative_error']:.1e} "
            f"relative, log-determinants {exact['max_log_det_error']:.1e} at most"
        ),
        soft_wrap=True,
    )
    median, share, largest = (f"{value:.1e}" for value in showers["voxels_mev"].values())
    console.print(
        Text(
            f"{showers['n']} showers in float32: a voxel's error is {median} MeV at median, {share} at 99.9 %, "
            f"{largest} at most; {showers['voxels_off_by_1_percent_and_0.1_mev']} of {showers['voxels']} "
            "voxels are off by more than 1 % and 0.1 MeV"
        ),
        soft_wrap=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())
