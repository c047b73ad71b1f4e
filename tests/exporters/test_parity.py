"""The numerical criterion: right graphs pass, and slightly wrong ones do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from exporters import parity
from exporters.contract import separate
from exporters.evaluation import Inputs, draw_inputs, evaluate_runtime, evaluate_torch
from exporters.exportable import Condition, read_conditions
from exporters.lowering import lower
from exporters.parity import compare
from exporters.profiles import Guarded
from exporters.tolerance import Quantiles, rounding

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporters import ExportResult

EVENTS = 512
VOXELS = 8
THRESHOLD = 5.0


class Case:
    """The toy before and after the threshold, lowered, with its float64 truth."""

    def __init__(self, toy: Any) -> None:
        conditions = read_conditions(toy.export_metadata(), where="toy")
        self.before = Guarded(toy.sampling_module(threshold=False), conditions).eval()
        final = Guarded(toy.sampling_module(), conditions).eval()
        signature = separate(len(conditions), toy.noise_dim, VOXELS)
        example = draw_inputs(conditions, toy.noise_dim, 3)
        tensors = (torch.from_numpy(example.cond), torch.from_numpy(example.noise))
        self.before_onnx = lower(self.before, signature, tensors)
        self.final_onnx = lower(final, signature, tensors)
        self.inputs = draw_inputs(conditions, toy.noise_dim, EVENTS)
        self.truth = evaluate_torch(self.before, self.inputs, double=True)

    def failures(self, before: bytes, final: bytes) -> tuple[str, ...]:
        found = compare(self.before, before, final, self.inputs, truth=self.truth, threshold=THRESHOLD)
        return found.failures


@pytest.fixture(scope="module")
def case(toy: Any) -> Case:
    return Case(toy)


def _changed(model: bytes, change: Callable[[np.ndarray], np.ndarray]) -> bytes:
    """The model with its largest weight matrix changed."""
    proto = onnx.load_from_string(model)
    largest = max(proto.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
    value = change(numpy_helper.to_array(largest)).astype(np.float32)
    largest.CopyFrom(numpy_helper.from_array(value, largest.name))
    return proto.SerializeToString()


def test_the_graph_is_as_good_as_torch(case: Case) -> None:
    assert case.failures(case.before_onnx, case.final_onnx) == ()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda weight: weight * (1 + 1e-5), id="weights off by 1e-5"),
        pytest.param(lambda weight: weight.astype(np.float16), id="weights in half precision"),
    ],
)
def test_a_slightly_wrong_graph_fails(case: Case, change: Callable[[np.ndarray], np.ndarray]) -> None:
    wrong = _changed(case.before_onnx, change)
    assert any("median" in words for words in case.failures(wrong, case.final_onnx))


def test_a_graph_with_another_threshold_fails(case: Case) -> None:
    proto = onnx.load_from_string(case.final_onnx)
    floats = [t for t in proto.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    scalars = [t for t in floats if np.all(numpy_helper.to_array(t) == THRESHOLD)]
    assert scalars
    for tensor in scalars:
        value = np.full(list(tensor.dims), 20 * THRESHOLD, dtype=np.float32)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    failures = case.failures(case.before_onnx, proto.SerializeToString())
    assert any("threshold changed sides" in words for words in failures)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"optimise": False, "batch": None}, "optimisation off: median"),
        ({"optimise": True, "batch": None}, "optimisation on: median"),
        ({"optimise": True, "batch": 1}, "optimisation on, batch 1: maximum"),
        ({"optimise": False, "batch": 7}, "optimisation off, batch 7: maximum"),
    ],
    ids=str,
)
def test_every_way_of_running_is_compared(
    case: Case, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any], words: str
) -> None:
    """A runtime that is wrong only without optimisations, or only for single events."""

    def evaluate(model: bytes, inputs: Inputs, *, optimise: bool, batch: int | None = None) -> np.ndarray:
        options = {} if batch is None else {"batch": batch}
        x = evaluate_runtime(model, inputs, optimise=optimise, **options)
        affected = model == case.before_onnx and (optimise, batch) == (wrong["optimise"], wrong["batch"])
        return x * 1.01 if affected else x

    monkeypatch.setattr(parity, "evaluate_runtime", evaluate)
    failures = case.failures(case.before_onnx, case.final_onnx)
    assert failures
    assert all(failure.startswith(words.partition(":")[0]) for failure in failures)
    assert any(words in failure for failure in failures)


def test_the_bound_is_twice_what_torch_itself_is_off_by(case: Case) -> None:
    found = compare(case.before, case.before_onnx, case.final_onnx, case.inputs, truth=case.truth, threshold=THRESHOLD)
    torch32 = np.abs(evaluate_torch(case.before, case.inputs, double=False) - case.truth)
    median, p999 = np.quantile(torch32, [0.5, 0.999], method="lower")
    least = rounding(case.truth)
    assert found.bound.median == max(2 * median, least.median)
    assert found.bound.p999 == max(2 * p999, least.p999)
    assert found.bound.maximum >= 2 * torch32.max()
    # of a few hundred evaluations of float32 the largest is not many times that of one
    assert found.bound.maximum <= 8 * torch32.max()


def test_flips_beyond_those_of_torch_fail(case: Case) -> None:
    proto = onnx.load_from_string(case.final_onnx)
    for tensor in proto.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype == np.float32 and np.all(value == THRESHOLD):
            tensor.CopyFrom(numpy_helper.from_array(np.full_like(value, 1.5 * THRESHOLD), tensor.name))
    failures = case.failures(case.before_onnx, proto.SerializeToString())
    assert any("threshold flips >" in words for words in failures)


def test_the_exported_report_says_how_much_was_compared(exported: ExportResult) -> None:
    found = exported.parity
    assert found.passed
    assert found.values >= 100_000
    assert found.events >= 4096
    assert set(found.runtime) == {"on", "off"}
    assert set(found.small_batches) == {"on, N=1", "on, N=7", "off, N=1", "off, N=7"}
    assert set(found.flips) == {"torch", "on", "off"}
    assert found.bound.median >= 2 * found.torch.median
    assert found.bound.maximum >= 2 * found.torch.maximum


def test_inputs_cover_the_valid_range_log_uniformly_where_it_is_wide() -> None:
    conditions = [
        Condition(name="incident_energy_gev", unit="GeV", low=1.0, high=1000.0),
        Condition(name="theta_rad", unit="rad", low=-0.5, high=0.5),
    ]
    inputs = draw_inputs(conditions, 4, 4000)
    assert isinstance(inputs, Inputs)
    assert inputs.cond.min(axis=0).tolist() == [1.0, -0.5]
    assert inputs.cond.max(axis=0).tolist() == [1000.0, 0.5]
    assert np.median(inputs.cond[:, 0]) == pytest.approx(1000**0.5, rel=0.2)
    assert np.median(inputs.cond[:, 1]) == pytest.approx(0.0, abs=0.03)


def test_quantiles_count_nan_as_infinitely_wrong() -> None:
    assert Quantiles.of(np.array([0.0, np.nan, 1.0])).maximum == np.inf
    found = Quantiles.of(np.array([1.0, -3.0, 2.0]))
    assert (found.median, found.maximum) == (2.0, 3.0)
    assert Quantiles.from_dict(found.to_dict()) == found
    assert found.exceeding(found) == []
    assert len(found.exceeding(Quantiles(median=1.0, p999=9.0, maximum=2.0))) == 2


def test_rounding_is_the_spacing_of_float32() -> None:
    assert rounding(np.array([1.0])).maximum == np.finfo(np.float32).eps
