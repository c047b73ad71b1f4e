"""Generators of weighted events as ONNX files: a second output, compared and tested apart, never lost in silence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from exporters import OnnxGenerator, to_onnx, verify
from exporters.golden import read_golden
from exporters.manifest import Names, write_manifest
from exporters.onnx import ParityError
from hepflows.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from exporters import ExportResult

VOXELS = 8  # of the toy in conftest.py
ENERGIES = np.stack([np.linspace(5, 90, 20), np.full(20, 0.2)], axis=1)


class Weighing(nn.Module):
    """A sampler whose events weigh more, the more of their energy lies in the first voxel."""

    def __init__(self, sampler: nn.Module) -> None:
        super().__init__()
        self.sampler = sampler

    def forward(self, cond: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        x = self.sampler(cond, noise)
        return x, torch.exp(x[:, :1] / (x.sum(1, keepdim=True) + 1.0) - 0.2)


class Spoilt(nn.Module):
    """A sampler whose weights are off by a thousandth."""

    def __init__(self, sampler: nn.Module) -> None:
        super().__init__()
        self.sampler = sampler

    def forward(self, cond: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = self.sampler(cond, noise)
        return x, 1.001 * weight


class WeightedToy:
    """The toy generator with weights."""

    def __init__(self, toy) -> None:
        self.toy, self.noise_dim = toy, toy.noise_dim

    def sampling_module(self, *, threshold: bool = True) -> nn.Module:
        return Weighing(self.toy.sampling_module(threshold=threshold)).eval()

    def export_metadata(self) -> dict[str, object]:
        return {**self.toy.export_metadata(), "weight": "more in the first voxel"}


@pytest.fixture(scope="module")
def weighted(toy) -> WeightedToy:
    return WeightedToy(toy)


@pytest.fixture(scope="module")
def result(weighted, tmp_path_factory) -> ExportResult:
    return to_onnx(weighted, tmp_path_factory.mktemp("weighted") / "weighted.onnx")


def test_the_graph_has_a_second_output(result):
    outputs = onnx.load(result.model).graph.output
    assert [output.name for output in outputs] == ["x", "weight"]
    assert [output.type.tensor_type.shape.dim[1].dim_value for output in outputs] == [VOXELS, 1]
    metadata = json.loads(result.manifest.read_text())["metadata"]
    assert metadata["io"]["outputs"][1] == {"name": "weight", "width": 1, "meaning": "more in the first voxel"}
    tolerance = metadata["tolerance"]
    assert tolerance["weight"]["passed"]
    # weights of about 1 and energies of about 1e4 MeV have bounds of their own
    assert tolerance["weight"]["bound"]["maximum"] < 1e-3 < tolerance["bound"]["maximum"]
    assert result.weight_parity is not None
    assert result.weight_parity.values == result.weight_parity.events


def test_golden_events_end_with_the_weight(result, weighted):
    golden = read_golden(result.golden)
    assert golden.expected.shape[1] == VOXELS + 1
    cond, noise = (torch.from_numpy(values) for values in (golden.cond, golden.noise))
    with torch.no_grad():
        x, weight = weighted.sampling_module().double()(cond, noise)
    np.testing.assert_allclose(golden.expected[:, :-1], x.numpy(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(golden.expected[:, -1:], weight.numpy(), rtol=1e-12)


def test_a_client_does_not_lose_weights(result, weighted):
    client = OnnxGenerator(result.model)
    assert client.weighted
    assert client.n_outputs == VOXELS
    with pytest.raises(ConfigError, match=r"have weights[\s\S]*sample_weighted"):
        client.sample(ENERGIES, seed=2)
    x, weights = client.sample_weighted(ENERGIES, seed=2, batch=7)
    np.testing.assert_allclose(weights, np.exp(x[:, 0] / (x.sum(1) + 1.0) - 0.2), rtol=1e-5)
    cond, noise = ENERGIES.astype(np.float32), np.zeros((20, client.noise_dim), np.float32)
    with pytest.raises(ConfigError, match="run_weighted"):
        client.run(cond, noise)
    assert client.run_weighted(cond, noise)[1].shape == (20,)
    card = result.card.read_text(encoding="utf-8")
    assert "x, weight = generator.sample_weighted(" in card
    assert "| `weight` | (N, 1) | more in the first voxel |" in card
    assert "Weights differ by at most" in card


def test_files_without_weights_have_those_of_one(exported):
    client = OnnxGenerator(exported.model)
    assert not client.weighted
    x, weights = client.sample_weighted(ENERGIES, seed=2)
    np.testing.assert_array_equal(x, client.sample(ENERGIES, seed=2))
    np.testing.assert_array_equal(weights, 1)


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_smaller_files(weighted, storage, tmp_path: Path):
    result = to_onnx(weighted, tmp_path / "small.onnx", weights=storage)
    assert verify(result.model).passed
    report = OnnxGenerator(result.model).metadata["storage"]
    assert report["weight"]["differences"]["maximum"] < report["differences"]["maximum"]


def test_verify_finds_other_weights(result, tmp_path: Path):
    for file in (result.model, result.manifest, result.golden):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    names = Names.of(tmp_path / result.model.name)
    assert verify(names.model).passed
    assert verify(names.model).to_dict()["weight"]["runs"]["on"]["maximum"] < 1e-3
    data = bytearray(names.golden.read_bytes())
    data[-8:] = (np.frombuffer(data[-8:], dtype="<f8") + 0.01).astype("<f8").tobytes()
    names.golden.write_bytes(data)
    metadata = json.loads(names.manifest.read_text())["metadata"]
    write_manifest(names.manifest, names, names.model, names.golden, metadata)
    outcome = verify(names.model)
    assert not outcome.passed
    assert all("weight: maximum" in words for words in outcome.failures)


def test_weights_that_differ_from_torch_are_refused(weighted, tmp_path: Path, monkeypatch):
    """An error of 0.1 % of the weight hides far below the tolerance of energies."""

    def spoil(lower: Callable[..., bytes]) -> Callable[..., bytes]:
        def lowered(module: nn.Module, *args: object, **options: object) -> bytes:
            return lower(Spoilt(module).eval(), *args, **options)

        return lowered

    from exporters import graphs

    monkeypatch.setattr(graphs, "lower", spoil(graphs.lower))
    with pytest.raises(ParityError, match="weight: optimisation on"):
        to_onnx(weighted, tmp_path / "spoilt.onnx")
    assert not list(tmp_path.iterdir())
