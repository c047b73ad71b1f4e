"""Time of one training step: the MAF teacher, and a coupling flow whose sampling is timed as well.

python -m benchmarks.training --json training.json --plot training.png

A step is the mean negative log-likelihood of a batch, its gradients, and a step of Adam, the fused one on all sides.
The coupling flow is that of the jet models: 90 dimensions, 15 blocks, 439 thousand parameters a conditioner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from benchmarks.architecture import Coupling, autoregressive_flow, coupling_flow, inputs
from benchmarks.options import Options, add_architecture, parse, run, say
from benchmarks.peers import load_peers
from benchmarks.sampling import shape_of
from benchmarks.showing import describe, show_notes, show_ratios, show_sides
from benchmarks.sides import Measured, Side, calling, fastest, measure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from benchmarks.architecture import Autoregressive

    LogProb = Callable[[Tensor, Tensor | None], Tensor]

_TENSORS_PER_PARAMETER = 10
"""Copies of a block's raw spline parameters that the libraries keep for the backward pass."""
_RATE = 1e-4


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(__doc__ or "", argv, batches=(16, 100, 1000), quick_batches=(100, 1000), add=_add_options)
    return run("training", options, work, show=show, draw=draw)


def work(options: Options) -> dict[str, Any]:
    """Measure everything."""
    shape = shape_of(options)
    found: dict[str, Any] = {"architecture": vars(shape), "optimizer": "torch.optim.Adam(fused=True)"}
    sides, missing = teacher_sides(shape, options)
    measured = measure(sides, options.batches, options.effort)
    del sides
    found |= step_figures(measured, "teacher", options.peers)
    found["not_run"] = {**missing, **measured.left_out}
    found["sides"] = measured.to_dict(per_event=False)
    found["coupling"] = coupling_section(
        Coupling(features=options.more["coupling_features"], blocks=options.more["coupling_blocks"]), options
    )
    return found


def coupling_section(shape: Coupling, options: Options) -> dict[str, Any]:
    """Training step and sampling of the coupling flow."""
    say("coupling flow: training")
    sides, missing = coupling_sides(shape, options, training=True)
    steps = measure(sides, options.batches, options.effort)
    say("coupling flow: sampling")
    sides, _ = coupling_sides(shape, options, training=False)
    samples = measure(sides, options.batches, options.effort)
    found: dict[str, Any] = {
        "architecture": vars(shape),
        "parameters_per_conditioner": conditioner_size(shape),
        **step_figures(steps, "coupling", options.peers),
        "sampling_ms": samples.ms("hepflows coupling"),
        **over_fastest(steps, "speedup_over_fastest_peer", options.peers),
        **over_fastest(samples, "sampling_speedup_over_fastest_peer", options.peers),
    }
    for peer in options.peers:
        found |= samples.ratios(f"sampling_speedup_over_{peer}", f"{peer} coupling", "hepflows coupling")
    found["not_run"] = {**missing, **steps.left_out, **samples.left_out}
    found["sides"] = {"step": steps.to_dict(per_event=False), "sampling": samples.to_dict()}
    return found


def step_figures(measured: Measured, role: str, peers: Sequence[str]) -> dict[str, Any]:
    """Milliseconds a step, and ratios to the libraries, by batch."""
    found: dict[str, Any] = {
        "step_ms": measured.ms(f"hepflows {role}", per_event=False),
        "step_cpu_ms": measured.ms(f"hepflows {role}", "cpu", per_event=False),
        "peer_step_ms": {
            peer: measured.ms(f"{peer} {role}", per_event=False)
            for peer in peers
            if f"{peer} {role}" in measured.timings
        },
    }
    for peer in peers:
        found |= measured.ratios(f"speedup_over_{peer}", f"{peer} {role}", f"hepflows {role}")
    return found


def over_fastest(measured: Measured, name: str, peers: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Ratio to whichever library is fastest at a batch, and its name."""
    ours = measured.timings["hepflows coupling"]
    ratios: dict[str, float] = {}
    names: dict[str, str] = {}
    for batch, timing in ours.items():
        best = fastest(measured, [f"{peer} coupling" for peer in peers], batch)
        if best is not None:
            names[str(batch)] = best.split()[0]
            ratios[str(batch)] = measured.timings[best][batch].value() / timing.value()
    return {name: ratios, f"{name}_is": names}


def teacher_sides(shape: Autoregressive, options: Options) -> tuple[dict[str, Side], dict[str, str]]:
    """Training steps of the MAF, ours and the libraries'; and why libraries are missing."""
    x, context = inputs(shape.features, shape.context, max(options.batches), seed=options.seed)
    ours = autoregressive_flow(shape, "teacher", seed=options.seed)
    sides = {"hepflows teacher": _step_side(ours, ours.log_prob, x, context)}
    peers, missing = load_peers(options.peers)
    need = shape.blocks * shape.features * shape.spline.n_parameters * 4 * _TENSORS_PER_PARAMETER
    for name, peer in peers.items():
        say(f"making the flows of {name}")
        flow = peer.autoregressive(ours, shape, "teacher")
        sides[f"{name} teacher"] = _step_side(flow.module, flow.log_prob, x, context, bytes_per_event=need)
    return sides, missing


def coupling_sides(shape: Coupling, options: Options, *, training: bool) -> tuple[dict[str, Side], dict[str, str]]:
    """Training steps or sampling of the coupling flows; and why libraries are missing."""
    noise, _ = inputs(shape.features, 0, max(options.batches), seed=options.seed)
    ours = coupling_flow(shape, seed=options.seed)
    peers, missing = load_peers(options.peers)
    flows: dict[str, tuple[nn.Module, LogProb, LogProb]] = {"hepflows": (ours, ours.log_prob, ours.sample)}
    for name, peer in peers.items():
        flow = peer.coupling(ours, shape)
        flows[name] = (flow.module, flow.log_prob, flow.sample)
    sides: dict[str, Side] = {}
    for name, (module, log_prob, sample) in flows.items():
        side = _step_side(module, log_prob, noise, None) if training else _sampling_side(module, sample, noise)
        sides[f"{name} coupling"] = side
    return sides, missing


def training_step(
    module: nn.Module, log_prob: LogProb, optimizer: torch.optim.Optimizer, x: Tensor, context: Tensor | None
) -> float:
    """One step; returns the loss."""
    module.train()
    optimizer.zero_grad(set_to_none=True)
    loss = -log_prob(x, context).mean()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def conditioner_size(shape: Coupling) -> int:
    """Parameters of one conditioner."""
    (first, *_) = coupling_flow(Coupling(**{**vars(shape), "blocks": 2}), seed=1).transforms
    return sum(parameter.numel() for parameter in first.parameters())


def show(results: Mapping[str, Any]) -> None:
    """Print tables."""
    console, batches, coupling = Console(), results["settings"]["batches"], results["coupling"]
    show_sides(console, "training step of the teacher: ms, median of wall times, by batch", results["sides"], batches)
    show_ratios(console, "ratios by batch", results, batches)
    sides = coupling["sides"]
    show_sides(console, "training step of the coupling flow: ms, by batch", sides["step"], batches)
    show_sides(console, "sampling of the coupling flow: ms per event, by batch", sides["sampling"], batches)
    show_ratios(console, "ratios of the coupling flow by batch", coupling, batches)
    show_notes(console, {**results, "not_run": {**results["not_run"], **coupling["not_run"]}})


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Time of a step against batch, teacher and coupling flow."""
    from benchmarks.plot import plot_results

    sides = {**results["sides"], **results["coupling"]["sides"]["step"]}
    plot_results(sides, path, title="Training step", subtitle=describe(results), ylabel="time per step [ms]")


def _step_side(
    module: nn.Module, log_prob: LogProb, x: Tensor, context: Tensor | None, *, bytes_per_event: int = 0
) -> Side:
    optimizer = torch.optim.Adam(module.parameters(), lr=_RATE, fused=True)

    def call(n: int) -> Callable[[], object]:
        return calling(training_step, module, log_prob, optimizer, x[:n], None if context is None else context[:n])

    return Side(call=call, bytes_per_event=bytes_per_event)


def _sampling_side(module: nn.Module, sample: LogProb, noise: Tensor) -> Side:
    module.eval()

    def call(n: int) -> Callable[[], object]:
        return torch.no_grad()(calling(sample, noise[:n], None))

    return Side(call=call)


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_architecture(parser)
    parser.add_argument("--coupling-features", type=int, default=90)
    parser.add_argument("--coupling-blocks", type=int, default=15)


if __name__ == "__main__":
    raise SystemExit(main())
