"""How the cost grows: with the number of dimensions D (as D^2, not D^3) and with the batch (linearly).

The hidden layers grow with D, three quarters of it as in the reference flow, so that one pass costs D^2; one block.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.architecture import Autoregressive, autoregressive_flow, inputs
from benchmarks.arithmetic import unmasked_flop
from benchmarks.options import say
from benchmarks.peers import load_peers
from hepflows.benchmarking.memory import available_bytes
from hepflows.benchmarking.timing import time_alternately

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.options import Options
    from hepflows.benchmarking.timing import Timing

PASSES = 8
BATCH = 256
FEATURES = (128, 256, 512, 1024, 2048, 4096)
QUICK_FEATURES = (128, 256, 512)
BATCHES = (256, 512, 1024, 2048, 4096, 8192)
QUICK_BATCHES = (256, 512, 1024)
LARGEST_NAIVE = 1024
"""Dimensions up to which nflows' naive inverse is timed as well."""
_BYTES_PER_WEIGHT = 24


@torch.no_grad()
def sweep(options: Options) -> dict[str, Any]:
    """Time one block of the teacher against dimensions, and the reference block against the batch."""
    return {
        "features": _over_features(QUICK_FEATURES if options.quick else FEATURES, options),
        "batch": _over_batches(QUICK_BATCHES if options.quick else BATCHES, options),
    }


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float | None:
    """Slope of log time against log size by least squares; None for fewer than two sizes."""
    if len(sizes) < 2:
        return None
    slope, _ = np.polyfit(np.log(sizes), np.log(times), 1)
    return float(slope)


def local_exponents(sizes: Sequence[float], times: Sequence[float]) -> list[float]:
    """Slopes between neighbouring sizes."""
    pairs = zip(sizes, sizes[1:], times, times[1:], strict=False)
    return [math.log(t1 / t0) / math.log(s1 / s0) for s0, s1, t0, t1 in pairs]


def _over_features(sizes: Sequence[int], options: Options) -> dict[str, Any]:
    ours: dict[int, Timing] = {}
    naive: dict[int, Timing] = {}
    flop: dict[int, float] = {}
    left_out: dict[str, str] = {}
    nflows = load_peers(name for name in options.peers if name == "nflows")[0].get("nflows")
    for features in sizes:
        shape = Autoregressive(features=features, hidden=(3 * features // 4,) * 2, blocks=1)
        weights = features * shape.spline.n_parameters * shape.hidden[-1]
        free = available_bytes()
        if free is not None and weights * _BYTES_PER_WEIGHT > free:
            left_out[str(features)] = f"needs about {weights * _BYTES_PER_WEIGHT / 2**30:.0f} GiB of memory"
            continue
        say(f"sweep: {features} dimensions")
        flow = autoregressive_flow(shape, "teacher", seed=options.seed)
        noise, context = inputs(features, shape.context, BATCH, seed=options.seed)
        sides: dict[str, Callable[[], object]] = {"ours": _sampling(flow.sample, noise, context)}
        if nflows is not None and features <= LARGEST_NAIVE:
            peer = nflows.autoregressive(flow, shape, "teacher")
            if peer.passes is not None:
                sides["naive"] = _sampling(peer.passes, noise, context, PASSES)
        timings = time_alternately(sides, options.effort)
        ours[features], flop[features] = timings["ours"], unmasked_flop(shape) / 1e6
        if "naive" in timings:
            naive[features] = timings["naive"].scaled(features / PASSES)
    found = {"batch": BATCH, "blocks": 1, "hidden": "3/4 of the dimensions, twice", **_series(ours, BATCH)}
    found["unmasked_mflop"] = list(flop.values())
    found["not_run"] = left_out
    if naive:
        found["nflows_naive"] = {"extrapolated": f"{PASSES} passes, scaled", **_series(naive, BATCH)}
    return found


def _over_batches(batches: Sequence[int], options: Options) -> dict[str, Any]:
    shape = Autoregressive(blocks=1)
    flow = autoregressive_flow(shape, "teacher", seed=options.seed)
    timings: dict[int, Timing] = {}
    for batch in batches:
        say(f"sweep: batch {batch}")
        noise, context = inputs(shape.features, shape.context, batch, seed=options.seed)
        timings[batch] = time_alternately({"ours": _sampling(flow.sample, noise, context)}, options.effort)["ours"]
    return {"features": shape.features, "blocks": 1, **_series(timings, 1)}


def _sampling(function: Callable[..., object], *arguments: object) -> Callable[[], object]:
    return lambda: function(*arguments)


def _series(timings: dict[int, Timing], calls: int) -> dict[str, Any]:
    """Sizes, milliseconds and slopes; the slopes are those of processor times, which other processes disturb less."""
    sizes, cpu = list(timings), [timing.value("cpu") for timing in timings.values()]
    return {
        "sizes": sizes,
        "ms": [1e3 * timing.value() / calls for timing in timings.values()],
        "cpu_ms": [1e3 * value / calls for value in cpu],
        "exponent": exponent(sizes, cpu),
        "local_exponents": local_exponents(sizes, cpu),
    }
