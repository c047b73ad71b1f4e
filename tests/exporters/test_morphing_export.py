"""Morphings as ONNX files: the runtime gives what the artefact gives."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest

from exporters import morphing as exporter
from exporters.morphing import morphing_to_onnx
from exporters.onnx import ParityError
from exporters.tolerance import Quantiles
from hepflows.cli import main
from hepflows.errors import OutputError
from hepflows.feature_table import Column, FeatureTable
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


def test_a_graph_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    morphing, _ = trained("unidirectional", conditional=False)
    with pytest.raises(OutputError, match="suffix"):
        morphing_to_onnx(morphing, tmp_path / "m.bin")
    monkeypatch.setattr(exporter, "_ALLOWED", 0.0)
    monkeypatch.setattr(exporter, "_FLOOR", Quantiles(median=0.0, p999=0.0, maximum=0.0))
    with pytest.raises(ParityError, match="does not reproduce"):
        morphing_to_onnx(morphing, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
