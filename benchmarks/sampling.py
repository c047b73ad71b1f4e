"""Sampling speed: our exact teacher and our student beside those of nflows, zuko and normflows.

python -m benchmarks.sampling --json sampling.json --plot sampling.png
python -m benchmarks.sampling --quick

The reference is CaloFlow's Flow II: 504 dimensions, 8 blocks, two hidden layers of 378 units, 8 bins, float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import torch
from rich.console import Console

from benchmarks.architecture import Autoregressive, autoregressive_flow, first_block, inputs
from benchmarks.arithmetic import dense_flop, gemm_rates, unmasked_flop
from benchmarks.exactness import errors_in_float64
from benchmarks.options import Options, add_architecture, parse, run, say
from benchmarks.peers import load_peers
from benchmarks.showing import describe, show_notes, show_ratios, show_sides
from benchmarks.sides import Measured, Side, calling, measure
from benchmarks.sweep import sweep
from hepflows.benchmarking.machine import usable_cores
from hepflows.benchmarking.startup import measure_startup
from hepflows.benchmarking.tables import table
from hepflows.benchmarking.timing import Statistic, time_alternately

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from benchmarks.architecture import Kind
    from benchmarks.peers import PeerFlow
    from hepflows.flow import ConditionalFlow

PASSES = 8
"""Passes of a naive inverse that are timed."""
TENSORS_PER_PARAMETER = 16
"""Copies of the raw spline parameters that the libraries hold at their peak."""


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(
        __doc__ or "", argv, batches=(1, 16, 100, 1000, 10000), quick_batches=(1, 100, 1000), add=_add_options
    )
    return run("sampling", options, work, show=show, draw=draw)


def shape_of(options: Options) -> Autoregressive:
    """The autoregressive flow that the options ask for."""
    return Autoregressive(**{name: options.more[name] for name in ("features", "hidden", "blocks", "degrees")})


@torch.no_grad()
def work(options: Options) -> dict[str, Any]:
    """Measure everything."""
    shape = shape_of(options)
    say("matrix products")
    rates = gemm_rates(shape, quick=options.quick)
    rate = max(rates.values())
    flows: dict[Kind, ConditionalFlow] = {
        kind: autoregressive_flow(shape, kind, seed=options.seed) for kind in ("teacher", "student")
    }
    sides, same_weights, missing = sampling_sides(shape, flows, options)
    measured = measure(sides, options.batches, options.effort)
    del sides
    t_ms = unmasked_flop(shape) / rate / 1e6
    results: dict[str, Any] = {
        "architecture": {
            **vars(shape),
            "unmasked_mflop": unmasked_flop(shape) / 1e6,
            "dense_mflop": dense_flop(shape) / 1e6,
        },
        "gemm_gflops": rate,
        "gemm": rates,
        "t_ms": t_ms,
        **comparison(measured, t_ms, options.peers),
        "same_weights": same_weights,
        "naive_passes": min(PASSES, shape.features),
        "not_run": {**missing, **measured.left_out},
        "sides": measured.to_dict(),
        **two_threads(flows, shape, options),
    }
    if options.more["startup"]:
        say("starting fresh processes")
        results["startup"] = measure_startup("benchmarks.first_call", _arguments(shape), cold=not options.quick)
    say("float64 against the plain loop of passes")
    teacher = first_block(flows["teacher"]) if options.quick else flows["teacher"]
    results |= errors_in_float64(teacher, *inputs(shape.features, shape.context, 8, seed=options.seed))
    if options.more["sweep"]:
        results["sweep"] = sweep(options)
    return results


def sampling_sides(
    shape: Autoregressive, flows: Mapping[Kind, ConditionalFlow], options: Options
) -> tuple[dict[str, Side], dict[str, bool], dict[str, str]]:
    """Our flows and those of the libraries.

    Returns:
        Sides by name; whether a library's flow has our weights; why libraries are missing.
    """
    batch = max(options.batches)
    noise, context = inputs(shape.features, shape.context, batch, seed=options.seed)

    def on_inputs(function: Callable[..., object], *more: object) -> Callable[[int], Callable[[], object]]:
        return lambda n: calling(function, noise[:n], None if context is None else context[:n], *more)

    sides = {f"hepflows {kind}": Side(call=on_inputs(flow.sample)) for kind, flow in flows.items()}
    peers, missing = load_peers(options.peers)
    same: dict[str, bool] = {}
    for name, peer in peers.items():
        say(f"making the flows of {name}")
        need = shape.features * shape.spline.n_parameters * 4 * TENSORS_PER_PARAMETER
        student = peer.autoregressive(flows["student"], shape, "student")
        same[name] = student.same_weights
        sides[f"{name} student"] = Side(call=on_inputs(student.sample), bytes_per_event=need)
        one = Autoregressive(**{**vars(shape), "blocks": 1})
        teacher = peer.autoregressive(first_block(flows["teacher"]), one, "teacher")
        sides[f"{name} teacher, naive"] = naive_side(teacher, shape, on_inputs, bytes_per_event=need)
    return sides, same, missing


def naive_side(
    peer: PeerFlow,
    shape: Autoregressive,
    on_inputs: Callable[..., Callable[[int], Callable[[], object]]],
    *,
    bytes_per_event: int = 0,
) -> Side:
    """A slow direction of D passes a block, of which some passes of one block are timed and scaled."""
    if peer.passes is None:
        raise TypeError("this flow has no slow direction")
    passes = min(PASSES, shape.features)
    return Side(
        call=on_inputs(peer.passes, passes),
        scale=extrapolation(shape, passes),
        note=f"{passes} of {shape.features} passes in one of {shape.blocks} equal blocks, scaled",
        bytes_per_event=bytes_per_event,
    )


def extrapolation(shape: Autoregressive, passes: int) -> float:
    """All passes of all blocks over those that were done."""
    return shape.features * shape.blocks / passes


def comparison(measured: Measured, t_ms: float, peers: Sequence[str]) -> dict[str, Any]:
    """Figures by batch that compare the sides; those of libraries that were not timed are empty."""
    ours: dict[str, Any] = {}
    for kind in ("teacher", "student"):
        ours[f"{kind}_ms"] = measured.ms(f"hepflows {kind}")
        ours[f"{kind}_cpu_ms"] = measured.ms(f"hepflows {kind}", "cpu")
    ours |= measured.ratios("teacher_over_student", "hepflows teacher", "hepflows student")
    for statistic in get_args(Statistic):
        name = "teacher_over_t" if statistic == "wall" else f"teacher_over_t_{statistic}"
        ours[name] = {batch: ms / t_ms for batch, ms in measured.ms("hepflows teacher", statistic).items()}
    for peer in peers:
        ours |= measured.ratios(f"speedup_over_{peer}_naive", f"{peer} teacher, naive", "hepflows teacher")
        ours |= measured.ratios(f"student_speedup_over_{peer}", f"{peer} student", "hepflows student")
    ours["extrapolated"] = [name for name in ours if "_naive" in name]
    return ours


def two_threads(flows: Mapping[Kind, ConditionalFlow], shape: Autoregressive, options: Options) -> dict[str, Any]:
    """Speed of two threads over that of one, at a large batch."""
    batch = options.more["threads_batch"] or (1024 if options.quick else 10000)
    if usable_cores() < 2:
        return {"two_threads_speedup": None, "two_threads_batch": batch}
    say(f"two threads, batch {batch}")
    noise, context = inputs(shape.features, shape.context, batch, seed=options.seed)

    def with_threads(flow: ConditionalFlow, threads: int) -> Callable[[], object]:
        def call() -> None:
            torch.set_num_threads(threads)
            flow.sample(noise, context)

        return call

    kinds: list[Kind] = ["teacher"] if options.quick else ["teacher", "student"]
    sides = {f"{kind} {n}": with_threads(flows[kind], n) for kind in kinds for n in (1, 2)}
    try:
        timings = time_alternately(sides, options.effort)
    finally:
        torch.set_num_threads(options.threads)
    found: dict[str, Any] = {"two_threads_batch": batch}
    for kind in kinds:
        suffix = "" if kind == "teacher" else f"_{kind}"
        one, two = timings[f"{kind} 1"], timings[f"{kind} 2"]
        found[f"two_threads_speedup{suffix}"] = one.value() / two.value()
        found[f"two_threads_speedup{suffix}_least"] = one.value("least") / two.value("least")
        # above 1 the threads were not idle: it is what other processes left to them
        found[f"two_threads_cores_used{suffix}"] = two.value("cpu") / two.value()
    return found


def show(results: Mapping[str, Any]) -> None:
    """Print tables."""
    console, batches = Console(), results["settings"]["batches"]
    show_sides(console, "ms per event, median of wall times, by batch", results["sides"], batches)
    show_sides(console, "peak memory of one call, MiB, by batch", results["sides"], batches, key="peak_mib")
    show_ratios(console, "ratios by batch", results, batches)
    facts: dict[str, object] = {
        "best matrix product, one core": f"{results['gemm_gflops']:.1f} GFLOP/s",
        "T = unmasked FLOP / that": f"{results['t_ms']:.4f} ms",
        f"two threads against one, batch {results['two_threads_batch']}": results["two_threads_speedup"],
        "largest error against D passes, float64": f"{results['max_abs_error_float64']:.1e}",
    }
    for name, seconds in results.get("startup", {}).items():
        facts[f"first call of teacher and student, {name}"] = (
            f"{seconds['first_call_s']:.2f} s ({seconds['first_call_cpu_s']:.2f} s of processor time)"
        )
    for name, series in results.get("sweep", {}).items():
        facts[f"cost grows with {name} to the power"] = series["exponent"]
    console.print(table("", ["", ""], list(facts.items())))
    show_notes(console, results)


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Time against batch, and against the dimensions if they were swept."""
    from benchmarks.plot import plot_results

    plot_results(results["sides"], path, title="Sampling", subtitle=describe(results), sweep=results.get("sweep"))


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_architecture(parser)
    parser.add_argument("--threads-batch", type=int, help="batch of the comparison of two threads with one")
    parser.add_argument("--sweep", action="store_true", help="also time against dimensions and batch")
    parser.add_argument("--no-startup", dest="startup", action="store_false", help="start no fresh processes")


def _arguments(shape: Autoregressive) -> list[str]:
    hidden = ",".join(map(str, shape.hidden))
    shape_options = {"features": shape.features, "hidden": hidden, "blocks": shape.blocks, "degrees": shape.degrees}
    return [text for name, value in shape_options.items() for text in (f"--{name}", str(value))]


if __name__ == "__main__":
    raise SystemExit(main())
