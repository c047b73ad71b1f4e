"""Speed of the rational-quadratic spline alone: fused, in portable operators, and that of the libraries.

python -m benchmarks.spline --json spline.json

The unit is one element: one argument with its 3 K - 1 raw parameters, K = 8 bins. Three things are timed: the forward
spline, its inverse, and the forward spline with the gradients of arguments and parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from benchmarks.options import Options, parse, run, say
from benchmarks.peers import load_peers
from benchmarks.showing import describe, show_notes, show_ratios
from benchmarks.sides import Measured, Side, calling, measure
from hepflows.benchmarking.tables import table
from hepflows.splines import SplineSettings, portable_rational_quadratic, rational_quadratic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    Spline = Callable[[Tensor, Tensor, bool], tuple[Tensor, Tensor]]

OPERATIONS = ("forward", "inverse", "forward_backward")
_TENSORS_PER_PARAMETER = 12


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(__doc__ or "", argv, batches=(1_000, 10_000, 100_000, 1_000_000), quick_batches=(1_000, 100_000))
    return run("spline", options, work, show=show, draw=draw)


def work(options: Options) -> dict[str, Any]:
    """Measure everything."""
    settings = SplineSettings()
    splines, missing = all_splines(settings, options.peers)
    found: dict[str, Any] = {
        "spline": {"bins": settings.bins, "bound": settings.bound},
        "unit": "batch: number of elements; ms: milliseconds an element",
    }
    left_out: dict[str, str] = dict(missing)
    for operation in OPERATIONS:
        say(operation)
        measured = measure(operation_sides(splines, settings, operation, options), options.batches, options.effort)
        left_out |= measured.left_out
        found[f"{operation}_ns"] = {
            name: {batch: 1e6 * ms for batch, ms in measured.ms(name).items()} for name in measured.timings
        }
        found |= speedups(measured, operation, list(splines)[1:])
        found.setdefault("sides", {})[operation] = measured.to_dict()
    found["not_run"] = left_out
    return found


def all_splines(settings: SplineSettings, peers: Sequence[str]) -> tuple[dict[str, Spline], dict[str, str]]:
    """Functions (x, raw, inverse) by name, ours first; and why libraries are missing."""
    libraries, missing = load_peers(peers)
    return {
        "hepflows fused": lambda x, raw, inverse: rational_quadratic(x, raw, settings, inverse=inverse),
        "hepflows portable": lambda x, raw, inverse: portable_rational_quadratic(x, raw, settings, inverse=inverse),
        **{f"{name} spline": library.spline(settings) for name, library in libraries.items()},
    }, missing


def operation_sides(
    splines: Mapping[str, Spline], settings: SplineSettings, operation: str, options: Options
) -> dict[str, Side]:
    """One operation of all splines, on the same arguments and parameters."""
    generator = torch.Generator().manual_seed(options.seed)
    most = max(options.batches)
    x = 3 * torch.randn(most, generator=generator)
    raw = torch.randn(most, settings.n_parameters, generator=generator)

    def side(spline: Spline) -> Side:
        def call(n: int) -> Callable[[], object]:
            if operation == "forward_backward":
                return calling(_with_gradients, spline, x[:n].clone(), raw[:n].clone())
            return calling(_without_gradients, spline, x[:n], raw[:n], operation == "inverse")

        return Side(call=call, bytes_per_event=settings.n_parameters * 4 * _TENSORS_PER_PARAMETER)

    return {name: side(spline) for name, spline in splines.items()}


def speedups(measured: Measured, operation: str, others: Sequence[str]) -> dict[str, dict[str, float]]:
    """How much faster the fused spline is than each other, by number of elements."""
    found: dict[str, dict[str, float]] = {}
    for name in others:
        other = name.removeprefix("hepflows ").removesuffix(" spline")
        found |= measured.ratios(f"{operation}_speedup_over_{other}", name, "hepflows fused")
    return found


def show(results: Mapping[str, Any]) -> None:
    """Print tables."""
    console, batches = Console(), results["settings"]["batches"]
    for operation in OPERATIONS:
        rows = [[name, *(by.get(str(batch)) for batch in batches)] for name, by in results[f"{operation}_ns"].items()]
        title = f"{operation.replace('_', ' and ')}: ns per element, by elements"
        console.print(table(title, ["", *map(str, batches)], rows))
    show_ratios(console, "ratios by elements", results, batches)
    show_notes(console, results)


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Time of the training direction against the number of elements."""
    from benchmarks.plot import plot_results

    sides = results["sides"]["forward_backward"]
    title, ylabel = "Spline, forward and backward", "time per element [ms]"
    plot_results(sides, path, title=title, subtitle=describe(results), xlabel="elements", ylabel=ylabel)


def _without_gradients(spline: Spline, x: Tensor, raw: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return spline(x, raw, inverse)


def _with_gradients(spline: Spline, x: Tensor, raw: Tensor) -> tuple[Tensor, ...]:
    x.requires_grad_()
    raw.requires_grad_()
    y, log_derivative = spline(x, raw, False)
    return torch.autograd.grad((y, log_derivative), (x, raw), (torch.ones_like(y), torch.ones_like(y)))


if __name__ == "__main__":
    raise SystemExit(main())
