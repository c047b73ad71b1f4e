"""A generator's graphs, with and without the hit threshold, and their comparison with torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from exporters.evaluation import Inputs, draw_inputs, evaluate_runtime, evaluate_torch, stable_events
from exporters.golden import Golden, agreement, choose_rows
from exporters.lowering import lower
from exporters.parity import MINIMUM_VALUES, Parity, bound_on, check_final, compare, measured
from exporters.storage import rounded_to_half, storage_report, too_far

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import nn

    from exporters.contract import Signature
    from exporters.exportable import Exportable
    from exporters.profiles import Profile
    from exporters.storage import Storage
    from exporters.tolerance import Quantiles

_GOLDEN_EVENTS: Final = 32
_FINAL_EVENTS: Final = 512
_STORAGE_EVENTS: Final = 1024


@dataclass(frozen=True, kw_only=True)
class Graphs:
    """A generator as torch modules and as ONNX bytes, in one profile.

    Attributes:
        final: the whole sampler, columns (N, C) and noise (N, Z) to x (N, D).
        before: the same before the hit threshold.
        final_onnx: the graph of `final`.
        before_onnx: the graph of `before`.
        signature: of both graphs.
        storage: of the weights.
        storage_report: what another storage than float32 changes, JSON-able.
        before_exact_onnx: for int8, the graph of `before` with float32 weights.
        final_exact_onnx: for int8, the graph of `final` with float32 weights.
    """

    final: nn.Module
    before: nn.Module
    final_onnx: bytes
    before_onnx: bytes
    signature: Signature
    storage: Storage
    storage_report: Mapping[str, object]
    before_exact_onnx: bytes | None = None
    final_exact_onnx: bytes | None = None

    @property
    def steps(self) -> bool:
        """Whether golden events keep off the steps of thresholds: int8 moves every event too far for that."""
        return self.storage != "int8"


@dataclass(frozen=True, kw_only=True)
class Tested:
    """Outcome of the comparison with torch.

    Attributes:
        parity: before the hit threshold.
        golden: events for hosts.
        bound: on the golden events.
        failures: in words; empty if the graphs are as good as torch.
    """

    parity: Parity
    golden: Golden
    bound: Quantiles
    failures: tuple[str, ...]


def make_graphs(generator: Exportable, profile: Profile, storage: Storage) -> Graphs:
    """Translate a generator.

    Raises:
        ConfigError: it cannot be expressed in the contract's operators, or is too large.
    """
    exact = profile.wrap(generator.sampling_module(threshold=False)).eval()
    final, before = profile.wrap(generator.sampling_module()).eval(), exact
    if storage == "float16":
        final, before = rounded_to_half(final), rounded_to_half(before)
    example = draw_inputs(profile.columns, generator.noise_dim, 3, seed=1)
    signature = profile.signature(generator.noise_dim, evaluate_torch(final, example, double=False).shape[1])
    tensors = (torch.from_numpy(example.cond), torch.from_numpy(example.noise))
    final_onnx, before_onnx = (lower(module, signature, tensors, storage=storage) for module in (final, before))
    exact_onnx: list[bytes | None] = [None, None]
    if storage == "int8":
        exact_onnx = [lower(module, signature, tensors) for module in (before, final)]
    report: Mapping[str, object] = {"weights": storage}
    if storage != "float32":
        inputs = draw_inputs(profile.columns, generator.noise_dim, _STORAGE_EVENTS, seed=2)
        truth, plain = (evaluate_torch(exact, inputs, double=double) for double in (True, False))
        stored = evaluate_runtime(before_onnx, inputs, optimise=True)
        report = storage_report(storage, stored, truth, float32=agreement(plain, truth, steps=False).differences)
    return Graphs(
        final=final,
        before=before,
        final_onnx=final_onnx,
        before_onnx=before_onnx,
        signature=signature,
        storage=storage,
        storage_report=report,
        before_exact_onnx=exact_onnx[0],
        final_exact_onnx=exact_onnx[1],
    )


def compare_graphs(graphs: Graphs, profile: Profile, inputs: Inputs) -> Tested:
    """Compare graphs with torch on events, and choose golden events from the first of them."""
    truth = evaluate_torch(graphs.before, inputs, double=True)
    threshold = profile.step(inputs.cond)
    # quantiles of few values fluctuate more than the criterion allows
    few = inputs.part(slice(max(_FINAL_EVENTS, -(-MINIMUM_VALUES // graphs.signature.width))))
    expected = evaluate_torch(graphs.final, few, double=True)
    if not graphs.steps:
        return _measured(graphs, inputs, few, truth, threshold, expected)
    parity = compare(graphs.before, graphs.before_onnx, graphs.final_onnx, inputs, truth=truth, threshold=threshold)
    bound = bound_on(graphs.final, few, expected, parity.bound)
    failures = (*parity.failures, *check_final(graphs.final_onnx, few, expected, bound))
    rows = choose_rows(few.cond, stable_events(graphs.final, few, expected), _GOLDEN_EVENTS)
    chosen = few.part(rows)
    return Tested(
        parity=parity,
        golden=_golden(chosen, expected[rows]),
        bound=bound_on(graphs.final, chosen, expected[rows], parity.bound),
        failures=failures,
    )


def _measured(
    graphs: Graphs,
    inputs: Inputs,
    few: Inputs,
    truth: NDArray[np.float64],
    threshold: NDArray[np.float64] | float,
    expected: NDArray[np.float64],
) -> Tested:
    """The same for int8: the graph that is quantised must be as good as torch, what quantising changes is measured."""
    if graphs.before_exact_onnx is None or graphs.final_exact_onnx is None:
        raise TypeError("int8 graphs come with the graphs that were quantised")
    plain = compare(
        graphs.before, graphs.before_exact_onnx, graphs.final_exact_onnx, inputs, truth=truth, threshold=threshold
    )
    parity = measured(graphs.before_onnx, graphs.final_onnx, inputs, truth=truth, threshold=threshold)
    rows = choose_rows(few.cond, np.ones(len(expected), dtype=np.bool_), _GOLDEN_EVENTS)
    chosen = few.part(rows)
    own = agreement(
        evaluate_runtime(graphs.final_onnx, chosen, optimise=True), expected[rows], steps=False
    ).differences.scaled(2.0)
    return Tested(
        parity=parity,
        golden=_golden(chosen, expected[rows]),
        bound=own.or_larger(parity.bound),
        failures=(*plain.failures, *too_far(graphs.storage_report)),
    )


def _golden(inputs: Inputs, expected: NDArray[np.float64]) -> Golden:
    return Golden(cond=inputs.cond.astype(float), noise=inputs.noise.astype(float), expected=expected)
