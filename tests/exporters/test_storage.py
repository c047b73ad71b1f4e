"""Weights stored without what is always zero, as float16, or as int8."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from exporters import OnnxGenerator, to_onnx, verify
from exporters.contract import separate, violations
from exporters.dependencies import run, session
from exporters.lowering import lower
from exporters.storage import SMALLEST, quantised, rounded_to_half
from hepflows.autoregressive import InverseAutoregressive, MaskedAutoregressive
from hepflows.errors import ConfigError
from hepflows.splines import SplineSettings

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from exporters import ExportResult

COND = np.stack([np.geomspace(1, 100, 300), np.linspace(0, 0.5, 300)], axis=1)
FEATURES, WIDTH = 120, 128
SPLINE = SplineSettings(bins=6, bound=6.0, min_width=1e-3, min_height=1e-3, min_derivative=1e-3)


class Flow(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.block = InverseAutoregressive(FEATURES, 1, (WIDTH, WIDTH), SPLINE)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(0.1 * torch.randn_like(parameter))

    def forward(self, cond: Tensor, noise: Tensor) -> Tensor:
        x, _ = self.block.inverse(noise, cond)
        return x


def _lowered(module: nn.Module) -> onnx.ModelProto:
    example = (torch.full((2, 1), 0.5), torch.randn(2, FEATURES))
    return onnx.load_from_string(lower(module.eval(), separate(1, FEATURES, FEATURES), example))


def test_what_is_always_zero_is_not_in_the_file() -> None:
    module = Flow()
    made = module.block.made
    dense = sum(layer.weight.numel() for layer in (*made.layers, made.output))
    in_force = sum(int(layer.mask.sum()) for layer in (*made.layers, made.output))
    graph = _lowered(module)
    weights = [tensor for tensor in graph.graph.initializer if len(tensor.dims) == 2 and np.prod(tensor.dims) > 500]
    stored = sum(int(np.prod(tensor.dims)) for tensor in weights)
    assert in_force <= stored < 0.7 * dense
    cond = np.linspace(0, 1, 50, dtype=np.float32)[:, None]
    noise = np.random.default_rng(1).standard_normal((50, FEATURES)).astype(np.float32)
    with torch.no_grad():
        expected = module.double()(torch.from_numpy(cond).double(), torch.from_numpy(noise).double()).numpy()
    for optimise in (True, False):
        x = run(session(graph.SerializeToString(), optimise=optimise), cond, noise)
        np.testing.assert_allclose(x, expected, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def half(toy: Any, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    return to_onnx(toy, tmp_path_factory.mktemp("half") / "toy.onnx", weights="float16")


@pytest.fixture(scope="module")
def small(toy: Any, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    return to_onnx(toy, tmp_path_factory.mktemp("int8") / "toy.onnx", weights="int8")


def test_large_weights_are_float16_and_computed_with_in_float32(half: ExportResult, exported: ExportResult) -> None:
    graph = onnx.load(half.model).graph
    stored = {tensor.name: tensor.data_type for tensor in graph.initializer if np.prod(tensor.dims) >= SMALLEST}
    assert stored
    assert set(stored.values()) == {TensorProto.FLOAT16}
    casts = [node for node in graph.node if node.op_type == "Cast" and node.input[0] in stored]
    assert len(casts) == len(stored)
    assert {node.attribute[0].i for node in casts} == {TensorProto.FLOAT}
    assert not [node for node in graph.node if node.op_type == "MatMul" and stored.keys() & set(node.input)]
    plain = sum(
        tensor.ByteSize() for tensor in onnx.load(exported.model).graph.initializer if np.prod(tensor.dims) >= SMALLEST
    )
    assert sum(tensor.ByteSize() for tensor in graph.initializer if tensor.name in stored) < 0.52 * plain


def test_float16_files_keep_contract_tolerance_and_events(half: ExportResult, exported: ExportResult, toy: Any) -> None:
    assert violations(onnx.load(half.model), separate(2, 10, 8)) == []
    assert half.parity.passed
    assert verify(half.model).passed
    report = json.loads(half.manifest.read_text())["metadata"]["storage"]
    assert report["weights"] == "float16"
    assert report["differences"]["median"] > report["float32_differences"]["median"]
    x, exact = (OnnxGenerator(result.model, threads=1).sample(COND, seed=3) for result in (half, exported))
    assert 0 < np.abs(x - exact).mean() < 2e-3 * np.abs(exact).mean()
    rounded = rounded_to_half(toy.sampling_module())
    with torch.no_grad():
        noise = torch.from_numpy(np.asarray(_noise(300)))
        expected = rounded(torch.from_numpy(COND.astype(np.float32)), noise).numpy()
    same = ((x == 0) == (expected == 0)).all(1)
    np.testing.assert_allclose(x[same], expected[same], rtol=0, atol=2 * half.parity.bound.maximum)


def _noise(events: int) -> np.ndarray:
    from hepflows.philox import normal_noise

    return normal_noise(3, 0, events, 10)


def test_a_graph_with_loops_is_half_as_large_too_and_cannot_be_int8() -> None:
    class Teacher(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(2)
            self.block = MaskedAutoregressive(FEATURES, 1, (WIDTH,), SPLINE)

        def forward(self, cond: Tensor, noise: Tensor) -> Tensor:
            x, _ = self.block.inverse(noise, cond)
            return x

    module = Teacher().eval()
    example, signature = (torch.full((2, 1), 0.5), torch.randn(2, FEATURES)), separate(1, FEATURES, FEATURES)
    plain = lower(module, signature, example)
    half = lower(rounded_to_half(module), signature, example, storage="float16")
    assert len(half) < 0.62 * len(plain)  # the loops themselves take room in so small a file
    x, exact = (run(session(model), *(tensor.numpy() for tensor in example)) for model in (half, plain))
    np.testing.assert_allclose(x, exact, atol=1e-3)
    assert np.abs(x - exact).max() > 0
    with pytest.raises(ConfigError, match="cannot be int8"):
        lower(module, signature, example, storage="int8")


def test_a_weight_too_large_for_float16_is_named() -> None:
    module = Flow()
    with torch.no_grad():
        module.block.made.output.weight[0, 0] = 1e6
    with pytest.raises(ConfigError, match="too large for float16") as caught:
        rounded_to_half(module)
    assert "output.weight" in str(caught.value)


def test_int8_products_are_there_and_measured(small: ExportResult, exported: ExportResult) -> None:
    model = onnx.load(small.model)
    operators = [node.op_type for node in model.graph.node]
    assert "MatMulInteger" in operators
    assert not [node for node in model.graph.node if node.op_type.startswith("Random")]
    assert (model.ir_version, [(o.domain, o.version) for o in model.opset_import]) == (8, [("", 17)])
    report = json.loads(small.manifest.read_text())["metadata"]
    assert report["storage"]["weights"] == "int8"
    for key in ("relative_shift_of_mean_sum", "relative_change_of_spread_of_sum", "differences"):
        assert key in report["storage"]
    assert report["tolerance"]["torch32"] is None
    assert report["tolerance"]["steps"] is False
    assert verify(small.model).passed
    x, exact = (OnnxGenerator(result.model, threads=1).sample(COND, seed=3) for result in (small, exported))
    difference = np.abs(x - exact).mean() / exact.mean()
    assert 1e-4 < difference < 0.2
    assert abs(x.sum() / exact.sum() - 1) < 0.02


def test_the_check_of_an_int8_file_can_fail(small: ExportResult, tmp_path: Path) -> None:
    from exporters.golden import read_golden, write_golden
    from exporters.manifest import Names
    from hepflows.files import sha256_of

    for file in small.model.parent.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    names = Names.of(tmp_path / small.model.name)
    golden = read_golden(names.golden)
    golden.expected[:] *= 1.5
    write_golden(names.golden, golden)
    manifest = json.loads(names.manifest.read_text())
    manifest["golden"]["sha256"] = sha256_of(names.golden)
    names.manifest.write_text(json.dumps(manifest))
    assert not verify(names.model).passed


def test_a_wrong_int8_graph_is_refused(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from exporters import lowering
    from exporters.onnx import ParityError
    from exporters.storage import quantised

    def wrong(model: Any) -> Any:
        model = quantised(model)
        scales = [tensor for tensor in model.graph.initializer if tensor.name.endswith("_scale")]
        assert scales
        for tensor in scales:
            tensor.CopyFrom(numpy_helper.from_array(4 * numpy_helper.to_array(tensor), tensor.name))
        return model

    monkeypatch.setattr(lowering, "quantised", wrong)
    with pytest.raises(ParityError, match="int8"):
        to_onnx(toy, tmp_path / "toy.onnx", weights="int8")
    assert list(tmp_path.iterdir()) == []


def test_products_that_are_more_than_that_stay_as_they_are() -> None:
    class Scaled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.first = torch.nn.Parameter(0.1 * torch.randn(40, 40))
            self.second = torch.nn.Parameter(0.1 * torch.randn(40, 40))

        def forward(self, cond: Tensor, noise: Tensor) -> Tensor:
            return torch.addmm(noise * cond, noise, self.first, alpha=3.0) + noise @ self.second

    module, example = Scaled(), (torch.ones(4, 1), torch.randn(4, 40))
    model = lower(module, separate(1, 40, 40), example, storage="int8")
    x = run(session(model), *(tensor.numpy() for tensor in example))
    np.testing.assert_allclose(x, module(*example).detach().numpy(), atol=0.1)


def test_cells_that_never_vary_have_no_shift() -> None:
    from exporters.storage import storage_report
    from exporters.tolerance import Quantiles

    exact = np.random.default_rng(1).normal(5.0, 1.0, (100, 3))
    exact[:, 1] = 0.0
    stored = exact + 0.01
    nothing = Quantiles(median=0.0, p999=0.0, maximum=0.0)
    report = storage_report("int8", stored, exact, float32=nothing)
    assert 0.005 < report["largest_shift_of_an_output_in_its_spread"] < 0.02
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_nothing_to_quantise_is_an_error(tmp_path: Path) -> None:
    class Thin(torch.nn.Module):
        def forward(self, cond: Tensor, noise: Tensor) -> Tensor:
            return noise * cond

    example = (torch.ones(2, 1), torch.ones(2, 3))
    for storage in ("int8", "float16"):
        with pytest.raises(ConfigError, match=f"large enough for {storage}"):
            lower(Thin(), separate(1, 3, 3), example, storage=storage)


def test_an_unknown_storage_is_named(toy: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="float32 or float16 or int8"):
        to_onnx(toy, tmp_path / "x.onnx", weights="float8")
    assert list(tmp_path.iterdir()) == []


def test_initialisers_are_the_rounded_weights(half: ExportResult, toy: Any, stored_forms: Any) -> None:
    stored = [
        numpy_helper.to_array(tensor)
        for tensor in onnx.load(half.model).graph.initializer
        if tensor.data_type == TensorProto.FLOAT16
    ]
    layers = [part for part in toy.sampling_module().shapes.modules() if hasattr(part, "mask")]
    wide = [layer for layer in layers if layer.weight.numel() >= SMALLEST]
    assert wide
    for layer in wide:
        product = (layer.weight * layer.mask).detach().numpy().astype(np.float16)
        assert any(np.array_equal(value, form) for value in stored for form in stored_forms(product))


def test_products_that_share_a_weight_stay_what_they_are():
    """One transposed weight, large or small, of two nodes; a product without bias and one with scaled terms."""
    rng = np.random.default_rng(1)
    shapes = {"large": (40, 40), "small": (40, 20), "huge": (400, 40), "bias": (40,)}
    weights = {name: (0.1 * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}
    make = onnx.helper.make_node
    nodes = [
        make("Gemm", ["x", "large", "bias"], ["a"], transB=1),
        make("Gemm", ["a", "large", "bias"], ["b"], transB=1),
        make("Gemm", ["b", "small"], ["c"]),
        make("Gemm", ["c", "small", "bias"], ["d"], transB=1),
        make("Gemm", ["d", "large", "bias"], ["e"], alpha=0.5),
        make("Gemm", ["e", "huge"], ["y"], transB=1),
    ]
    made = onnx.helper.make_model(
        onnx.helper.make_graph(
            nodes,
            "shared",
            [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 40])],
            [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 400])],
            [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    x = rng.normal(size=(30, 40)).astype(np.float32)
    (before,) = session(made.SerializeToString(), threads=1).run(None, {"x": x})
    result = quantised(made)
    onnx.checker.check_model(result, full_check=True)
    (after,) = session(result.SerializeToString(), threads=1).run(None, {"x": x})
    assert 1e-6 < np.abs(after - before).max() < 0.05 * np.abs(before).max()
    kinds = [node.op_type for node in result.graph.node]
    assert [kinds.count(kind) for kind in ("MatMulInteger", "MatMul", "Gemm")] == [3, 2, 1]
