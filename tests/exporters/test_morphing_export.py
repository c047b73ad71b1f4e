"""Morphings and M-flows as ONNX files: the runtime gives what the artefact gives, and the files vouch for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest

from exporters import OnnxGenerator, verify
from exporters import maps as exporter
from exporters.golden import read_golden
from exporters.manifest import Names, read_manifest
from exporters.manifold import manifold_to_onnx
from exporters.morphing import morphing_to_onnx
from exporters.onnx import ParityError
from exporters.tolerance import Quantiles
from hepflows.cli import main
from hepflows.errors import ConfigError, OutputError
from hepflows.feature_table import Column, FeatureTable
from hepflows.files import sha256_of
from hepflows.manifold.config import ManifoldConfig
from hepflows.manifold.fitting import fit_manifold
from hepflows.morphing.config import MorphingConfig
from hepflows.morphing.morph import fit_morphing

if TYPE_CHECKING:
    from pathlib import Path

    from hepflows.morphing.artefact import Morphing


def trained(method: str, *, conditional: bool) -> tuple[Morphing, FeatureTable]:
    rng = np.random.default_rng(0)
    schedule = {"epochs": 2, "learning_rate": 5e-3}
    network = {"blocks": 2, "hidden": (12,), "bins": 5}
    config = MorphingConfig.model_validate(
        {
            "method": method,
            "base": network,
            "transport": network,
            "base_training": schedule,
            "transport_training": schedule,
        }
    )
    tables = [
        FeatureTable(
            features=(Column(name="a"), Column(name="b", unit="MeV", log=True)),
            values=np.stack([rng.normal(shift, 1, 500), rng.lognormal(shift, 0.5, 500)], axis=1),
            conditions=(Column(name="mass_rel"),) if conditional else (),
            condition_values=rng.uniform(0.05, 0.2, (500, 1)) if conditional else np.empty((500, 0)),
        )
        for shift in (0.0, 0.5)
    ]
    return fit_morphing(tables[0], tables[1], config), tables[0]


@pytest.mark.parametrize(("method", "conditional"), [("identity", True), ("base_transfer", False)])
def test_the_runtime_morphs_as_the_artefact_does(method: str, conditional: bool, tmp_path: Path) -> None:
    morphing, events = trained(method, conditional=conditional)
    morphing.save(tmp_path / "m")
    path = tmp_path / "m.onnx"
    assert main(["export", str(tmp_path / "m"), "--out", str(path)]) == 0
    session = onnxruntime.InferenceSession(path)
    given = {"features": events.values.astype(np.float32)}
    if conditional:
        given["cond"] = events.condition_values.astype(np.float32)
    found = session.run(None, given)[0]
    wanted = morphing.apply(events, seed=1).values
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)
    assert np.median(np.abs(found - wanted)) < 1e-5
    properties = {entry.key: json.loads(entry.value) for entry in onnx.load(path).metadata_props}
    assert [entry["name"] for entry in properties["hepflows.features"]] == ["a", "b"]
    assert [entry["name"] for entry in properties["hepflows.conditions"]] == ["mass_rel"] * conditional
    assert main(["export", str(tmp_path / "m"), "--out", str(path)]) == 2
    assert main(["export", str(tmp_path / "m"), "--out", str(path), "--profile", "par04", "--force"]) == 2
    names = Names.of(path)
    golden, tolerance = read_golden(names.golden), read_manifest(names.manifest)["metadata"]["tolerance"]
    assert golden.noise.shape == golden.expected.shape == (32, 2)
    assert tolerance["scale"][1] == pytest.approx(golden.expected[:, 1].std(), rel=0.7)
    assert main(["export", "--verify", str(path)]) == 0
    card = names.card.read_text(encoding="utf-8")
    assert "| `b` | MeV |" in card
    assert "OnnxGenerator" not in card
    with pytest.raises(ConfigError, match="maps events and generates none"):
        OnnxGenerator(path)


def test_a_golden_file_of_other_numbers_is_noticed(tmp_path: Path) -> None:
    morphing, _ = trained("identity", conditional=False)
    names = Names.of(morphing_to_onnx(morphing, tmp_path / "m.onnx").model)
    document = json.loads(names.manifest.read_text())
    data = bytearray(names.golden.read_bytes())
    scale = document["metadata"]["tolerance"]["scale"][1]
    data[-8:] = (np.frombuffer(data[-8:], dtype="<f8") + 0.01 * scale).astype("<f8").tobytes()
    names.golden.write_bytes(data)
    document["golden"]["sha256"] = sha256_of(names.golden)
    names.manifest.write_text(json.dumps(document))
    outcome = verify(names.model)
    assert not outcome.passed
    assert outcome.unit == "standard deviations of each output"
    assert outcome.runs["on"].differences.maximum == pytest.approx(0.01, rel=0.1)


def test_an_m_flow_tells_the_distance_from_the_manifold(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    u = rng.normal(size=(600, 1))
    columns = (Column(name="a"), Column(name="b", unit="MeV", log=True), Column(name="c", unit="mm"))
    values = np.concatenate([u, np.exp(0.5 * u), 3 * u + 0.1 * rng.normal(size=u.shape)], axis=1)
    schedule = {"epochs": 2, "batch_size": 100, "learning_rate": 3e-3}
    config = ManifoldConfig.model_validate(
        {
            "dimensions": 1,
            "outer": {"blocks": 2, "width": 8, "residual_blocks": 1},
            "inner": {"blocks": 1, "hidden": (8,)},
            "manifold_training": schedule,
            "density_training": schedule,
        }
    )
    manifold = fit_manifold(FeatureTable(features=columns, values=values), config)
    manifold.save(tmp_path / "manifold")
    path = tmp_path / "manifold.onnx"
    assert main(["export", str(tmp_path / "manifold"), "--out", str(path)]) == 0
    assert main(["export", "--verify", str(path)]) == 0
    far = values * [1, 1, -1]
    events = FeatureTable(features=columns, values=np.concatenate([values, far]))
    x, error = onnxruntime.InferenceSession(path).run(None, {"features": events.values.astype(np.float32)})
    scores = manifold.score(events, density=False)
    np.testing.assert_allclose(error[:, 0], scores.reconstruction_error, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(x, manifold.project(events).values, rtol=1e-3, atol=1e-3)
    metadata = read_manifest(Names.of(path).manifest)["metadata"]
    assert [output["name"] for output in metadata["io"]["outputs"]] == ["x", "reconstruction_error"]
    quantiles = np.array(metadata["error_quantiles"])
    p_value = 1 - np.interp(error[:, 0], quantiles, np.linspace(0, 1, len(quantiles)))
    np.testing.assert_allclose(np.maximum(p_value, 1 / 61), scores.p_value, atol=0.01)
    with pytest.raises(OutputError, match="exists"):
        manifold_to_onnx(manifold, path)


def test_a_graph_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    morphing, _ = trained("unidirectional", conditional=False)
    with pytest.raises(OutputError, match="suffix"):
        morphing_to_onnx(morphing, tmp_path / "m.bin")
    monkeypatch.setattr(exporter, "_ALLOWED", 0.0)
    monkeypatch.setattr(exporter, "_FLOOR", Quantiles(median=0.0, p999=0.0, maximum=0.0))
    with pytest.raises(ParityError, match="does not reproduce"):
        morphing_to_onnx(morphing, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
