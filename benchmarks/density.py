"""Speed of the log-density: teacher (one pass everywhere) and student (one pass here, D passes in the libraries).

python -m benchmarks.density --json density.json --plot density.png
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from benchmarks.architecture import Autoregressive, autoregressive_flow, first_block, inputs
from benchmarks.options import Options, add_architecture, parse, run, say
from benchmarks.peers import load_peers
from benchmarks.sampling import TENSORS_PER_PARAMETER, naive_side, shape_of
from benchmarks.showing import describe, show_notes, show_ratios, show_sides
from benchmarks.sides import Side, calling, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from benchmarks.architecture import Kind
    from hepflows.flow import ConditionalFlow


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(
        __doc__ or "", argv, batches=(1, 16, 100, 1000, 10000), quick_batches=(1, 100, 1000), add=add_architecture
    )
    return run("density", options, work, show=show, draw=draw)


@torch.no_grad()
def work(options: Options) -> dict[str, Any]:
    """Measure everything."""
    shape = shape_of(options)
    flows: dict[Kind, ConditionalFlow] = {
        kind: autoregressive_flow(shape, kind, seed=options.seed) for kind in ("teacher", "student")
    }
    sides, same_weights, missing = density_sides(shape, flows, options)
    measured = measure(sides, options.batches, options.effort)
    found: dict[str, Any] = {
        "architecture": vars(shape),
        "teacher_ms": measured.ms("hepflows teacher"),
        "student_ms": measured.ms("hepflows student"),
        **measured.ratios("student_over_teacher", "hepflows student", "hepflows teacher"),
    }
    for peer in options.peers:
        found |= measured.ratios(f"teacher_speedup_over_{peer}", f"{peer} teacher", "hepflows teacher")
        found |= measured.ratios(f"student_speedup_over_{peer}_naive", f"{peer} student, naive", "hepflows student")
    found |= {
        "extrapolated": [name for name in found if "_naive" in name],
        "same_weights": same_weights,
        "not_run": {**missing, **measured.left_out},
        "sides": measured.to_dict(),
    }
    return found


def density_sides(
    shape: Autoregressive, flows: Mapping[Kind, ConditionalFlow], options: Options
) -> tuple[dict[str, Side], dict[str, bool], dict[str, str]]:
    """Our flows and those of the libraries; as `benchmarks.sampling.sampling_sides`."""
    x, context = inputs(shape.features, shape.context, max(options.batches), seed=options.seed)

    def on_inputs(function: Callable[..., object], *more: object) -> Callable[[int], Callable[[], object]]:
        return lambda n: calling(function, x[:n], None if context is None else context[:n], *more)

    sides = {f"hepflows {kind}": Side(call=on_inputs(flow.log_prob)) for kind, flow in flows.items()}
    peers, missing = load_peers(options.peers)
    same: dict[str, bool] = {}
    for name, peer in peers.items():
        say(f"making the flows of {name}")
        need = shape.features * shape.spline.n_parameters * 4 * TENSORS_PER_PARAMETER
        teacher = peer.autoregressive(flows["teacher"], shape, "teacher")
        same[name] = teacher.same_weights
        sides[f"{name} teacher"] = Side(call=on_inputs(teacher.log_prob), bytes_per_event=need)
        one = Autoregressive(**{**vars(shape), "blocks": 1})
        student = peer.autoregressive(first_block(flows["student"]), one, "student")
        sides[f"{name} student, naive"] = naive_side(student, shape, on_inputs, bytes_per_event=need)
    return sides, same, missing


def show(results: Mapping[str, Any]) -> None:
    """Print tables."""
    console, batches = Console(), results["settings"]["batches"]
    show_sides(console, "log-density: ms per event, median of wall times, by batch", results["sides"], batches)
    show_ratios(console, "ratios by batch", results, batches)
    show_notes(console, results)


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Time against batch."""
    from benchmarks.plot import plot_results

    plot_results(results["sides"], path, title="Log-density", subtitle=describe(results))


if __name__ == "__main__":
    raise SystemExit(main())
