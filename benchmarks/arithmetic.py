"""How much arithmetic a masked flow needs, and how fast this machine multiplies matrices: the bound T.

T is the time that one core would need for the multiplications and additions that the masks leave, at the best rate
that any library reaches for a matrix product. Splines, activations and memory traffic are not in it.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from hepflows.benchmarking.timing import QUICK, THOROUGH, time_alternately
from hepflows.made import hidden_degrees

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.architecture import Autoregressive

TILE = 256
"""Rows of the small products: events that the engine evaluates together."""


def unmasked_flop(shape: Autoregressive) -> int:
    """Multiplications and additions of one sample in one pass, those with masked weights left out.

    A unit of degree m sees m inputs and all context, units of a later layer see those of at most their degree, and
    a unit of degree m feeds the parameters of D - m outputs.
    """
    degrees = [np.sort(hidden_degrees(shape.features, width, shape.degrees).numpy()) for width in shape.hidden]
    weights = int(degrees[0].sum()) + shape.context * shape.hidden[0]
    for before, after in pairwise(degrees):
        weights += int(np.searchsorted(before, after, side="right").sum())
    weights += shape.spline.n_parameters * int((shape.features - degrees[-1]).sum())
    return 2 * weights * shape.blocks


def dense_flop(shape: Autoregressive) -> int:
    """The same with the masked weights, as libraries compute it that multiply weights by masks."""
    sizes = [shape.features, *shape.hidden, shape.features * shape.spline.n_parameters]
    weights = sum(a * b for a, b in pairwise(sizes)) + shape.context * shape.hidden[0]
    return 2 * weights * shape.blocks


def gemm_rates(shape: Autoregressive, *, quick: bool) -> dict[str, float]:
    """Best rate of one core for single-precision matrix products, GFLOP/s by library and shape.

    Measured with numpy's and torch's matrix products, for a big square and for the products of the flow's layers
    with a tile of events. The best lap counts, by the processor time of this process: other processes only interrupt.
    """
    square = 1024 if quick else 2048
    sizes = [(square, square, square)]
    widths = [shape.features, *shape.hidden, shape.features * shape.spline.n_parameters]
    sizes += [(TILE, a, b) for a, b in pairwise(widths)]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        with threadpool_limits(limits=1), torch.no_grad():
            return _rates(sizes, quick=quick)
    finally:
        torch.set_num_threads(threads)


def _rates(sizes: Sequence[tuple[int, int, int]], *, quick: bool) -> dict[str, float]:
    sides: dict[str, Callable[[], object]] = {}
    flop: dict[str, int] = {}
    generator = np.random.default_rng(1)
    for size in dict.fromkeys(sizes):
        rows, inner, columns = size
        a = generator.standard_normal((rows, inner), dtype=np.float32)
        b = generator.standard_normal((inner, columns), dtype=np.float32)
        out = np.empty((rows, columns), dtype=np.float32)
        text = "x".join(map(str, size))
        sides[f"numpy {text}"] = _numpy_product(a, b, out)
        sides[f"torch {text}"] = _torch_product(a, b, out)
        flop[f"numpy {text}"] = flop[f"torch {text}"] = 2 * math.prod(size)
    timings = time_alternately(sides, QUICK if quick else THOROUGH)
    return {name: flop[name] / min(timing.cpu_s) / 1e9 for name, timing in timings.items()}


def _numpy_product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> Callable[[], object]:
    return lambda: np.matmul(a, b, out=out)


def _torch_product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> Callable[[], object]:
    left, right, target = (torch.from_numpy(array) for array in (a, b, out))
    return lambda: torch.mm(left, right, out=target)
