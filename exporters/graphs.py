"""A generator's graphs, with and without the hit threshold, and their comparison with torch, output by output."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from exporters.contract import OUTPUT, WEIGHT
from exporters.evaluation import Inputs, draw_inputs, evaluate_runtime, evaluate_torch, output_widths, stable_events
from exporters.golden import Golden, agreement, choose_rows, outputs_apart
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
    storage_report: Mapping[str, Any]
    before_exact_onnx: bytes | None = None
    final_exact_onnx: bytes | None = None

    @property
    def steps(self) -> bool:
        """Whether golden events keep off the steps of thresholds: int8 moves every event too far for that."""
        return self.storage != "int8"

    @property
    def columns(self) -> dict[str, slice]:
        """Columns of each output, side by side as golden events have them."""
        return _columns(self.signature)


@dataclass(frozen=True, kw_only=True)
class TestedOutput:
    """Outcome of the comparison of one output with torch's.

    Attributes:
        parity: before the hit threshold.
        bound: on the golden events.
        failures: in words; empty if the graphs are as good as torch.
    """

    parity: Parity
    bound: Quantiles
    failures: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """JSON form, for the metadata."""
        return {**self.parity.to_dict(), "golden_bound": self.bound.to_dict()}


@dataclass(frozen=True, kw_only=True)
class Tested:
    """Outcome of the comparison with torch.

    Attributes:
        outputs: of each output, by name.
        golden: events for hosts.
    """

    outputs: Mapping[str, TestedOutput]
    golden: Golden

    @property
    def failures(self) -> tuple[str, ...]:
        """What lies outside the tolerance, in words."""
        return tuple(
            words if name == OUTPUT else f"{name}: {words}"
            for name, output in self.outputs.items()
            for words in output.failures
        )


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
    widths = output_widths(final, example)
    signature = profile.signature(generator.noise_dim, widths[0])
    if len(widths) > 1:
        signature = replace(signature, others=((WEIGHT, widths[1]),))
    tensors = (torch.from_numpy(example.cond), torch.from_numpy(example.noise))
    final_onnx, before_onnx = (lower(module, signature, tensors, storage=storage) for module in (final, before))
    exact_onnx: list[bytes | None] = [None, None]
    if storage == "int8":
        exact_onnx = [lower(module, signature, tensors) for module in (before, final)]
    report: Mapping[str, Any] = {"weights": storage}
    if storage != "float32":
        inputs = draw_inputs(profile.columns, generator.noise_dim, _STORAGE_EVENTS, seed=2)
        truth, plain = (evaluate_torch(exact, inputs, double=double) for double in (True, False))
        stored = evaluate_runtime(before_onnx, inputs, optimise=True)
        report = _storage_report(storage, signature, stored, truth, plain)
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
    # quantiles of few values fluctuate more than the criterion allows
    few = inputs.part(slice(max(_FINAL_EVENTS, -(-MINIMUM_VALUES // graphs.signature.width))))
    expected = evaluate_torch(graphs.final, few, double=True)
    stable = stable_events(graphs.final, few, expected) if graphs.steps else np.ones(len(expected), dtype=np.bool_)
    rows = choose_rows(few.cond, stable, _GOLDEN_EVENTS)
    events = _Events(inputs=inputs, truth=truth, few=few, expected=expected, rows=rows)
    compared = _compared if graphs.steps else _measured
    return Tested(
        outputs={
            # only x has a threshold
            name: compared(graphs, events, profile.step(inputs.cond) if name == OUTPUT else 0.0, columns)
            for name, columns in graphs.columns.items()
        },
        golden=_golden(events.golden_inputs, events.golden_expected),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Events:
    """Events of a comparison: all before the threshold, a few of them after it, and golden `rows` of those."""

    inputs: Inputs
    truth: NDArray[np.float64]
    few: Inputs
    expected: NDArray[np.float64]
    rows: NDArray[np.int64]

    @property
    def golden_inputs(self) -> Inputs:
        return self.few.part(self.rows)

    @property
    def golden_expected(self) -> NDArray[np.float64]:
        return self.expected[self.rows]


def _compared(graphs: Graphs, events: _Events, threshold: NDArray[np.float64] | float, columns: slice) -> TestedOutput:
    parity = compare(
        graphs.before,
        graphs.before_onnx,
        graphs.final_onnx,
        events.inputs,
        truth=events.truth,
        threshold=threshold,
        columns=columns,
    )
    bound = bound_on(graphs.final, events.few, events.expected, parity.bound, columns)
    return TestedOutput(
        parity=parity,
        bound=bound_on(graphs.final, events.golden_inputs, events.golden_expected, parity.bound, columns),
        failures=(*parity.failures, *check_final(graphs.final_onnx, events.few, events.expected, bound, columns)),
    )


def _measured(graphs: Graphs, events: _Events, threshold: NDArray[np.float64] | float, columns: slice) -> TestedOutput:
    """The same for int8: the graph that is quantised must be as good as torch, what quantising changes is measured."""
    if graphs.before_exact_onnx is None or graphs.final_exact_onnx is None:
        raise TypeError("int8 graphs come with the graphs that were quantised")
    options: dict[str, Any] = {"truth": events.truth, "threshold": threshold, "columns": columns}
    plain = compare(graphs.before, graphs.before_exact_onnx, graphs.final_exact_onnx, events.inputs, **options)
    parity = measured(graphs.before_onnx, graphs.final_onnx, events.inputs, **options)
    found = evaluate_runtime(graphs.final_onnx, events.golden_inputs, optimise=True)
    own = agreement(found, events.golden_expected, steps=False, columns=columns).differences.scaled(2.0)
    report = graphs.storage_report if columns.start == 0 else graphs.storage_report[WEIGHT]
    return TestedOutput(
        parity=parity,
        bound=own.or_larger(parity.bound),
        failures=(*plain.failures, *too_far(report)),
    )


def _storage_report(
    storage: Storage,
    signature: Signature,
    stored: NDArray[np.float64],
    exact: NDArray[np.float64],
    plain: NDArray[np.float64],
) -> dict[str, Any]:
    """What the storage changes in x, and under `weight` in the weights of events that have some."""
    float32 = {
        name: agreement(plain, exact, steps=False, columns=columns).differences
        for name, columns in _columns(signature).items()
    }
    reports = {
        name: storage_report(storage, stored[:, columns], exact[:, columns], float32=float32[name])
        for name, columns in _columns(signature).items()
    }
    return {**reports.pop(OUTPUT), **reports}


def _columns(signature: Signature) -> dict[str, slice]:
    return outputs_apart(sum(width for _, width in signature.outputs), weighted=bool(signature.others))


def _golden(inputs: Inputs, expected: NDArray[np.float64]) -> Golden:
    return Golden(cond=inputs.cond.astype(float), noise=inputs.noise.astype(float), expected=expected)
