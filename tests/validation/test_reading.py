from __future__ import annotations

import json

import pytest

import calofast as cf
from calofast.measured_domain import MEASURED
from calofast.task import TASK as CALO
from hepflows.errors import ConfigError
from jetgen.task import TASK as JETS
from validation import reading
from validation.command import validate
from validation.settings import Settings


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    showers = cf.read_showers(cf.embedded_showers_path(), first=300)
    return cf.write_showers(showers, tmp_path_factory.mktemp("data") / "showers.h5")


def test_streamed_report(file, tmp_path, monkeypatch):
    monkeypatch.setattr("validation.report.gallery", lambda *_, **__: iter(()))  # pictures take seconds
    arguments = {"trainings": 1, "epochs": 2, "device": "cpu", "stream": True, "cache": tmp_path / "cache"}
    code = validate(
        file, f"fast={file}", out=tmp_path / "report", part="0:0.8", read=["first=200"], threshold_mev=0.02, **arguments
    )
    assert code == 0
    document = json.loads((tmp_path / "report" / "report.json").read_text())
    assert document["n_reference"] == 200
    assert document["settings"]["domain"] == {"threshold_mev": 0.02, "geometry": "calogan", "voxels": "streamed"}
    metrics = document["samples"]["fast"]
    assert {"auc_high", "auc_layers", "w1_radius_90", "resolution_constant"} <= set(metrics)
    assert not [name for name in metrics if "voxel_energy" in name or name == "auc_low"]
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_large_files_are_streamed_unless_told_otherwise(file, monkeypatch):
    settings = Settings(options={"threshold_mev": 1.0})

    def source(**options):
        return reading.event_source(CALO, [file], settings, **({"stream": None, "cache": None} | options))

    assert source().domain is CALO.domain
    assert source().settings is settings
    monkeypatch.setattr(reading, "LARGE_BYTES", file.stat().st_size - 1)
    streamed = source()
    assert streamed.domain is MEASURED
    assert streamed.settings.options == {}
    assert streamed.read(file, first=60).threshold_mev == 1
    assert source(stream=False).domain is CALO.domain
    assert reading.event_source(JETS, [file], settings, stream=None, cache=None).domain is JETS.domain


def test_streams_that_do_not_exist(file, tmp_path):
    with pytest.raises(ConfigError, match="--stream"):
        reading.event_source(JETS, [file], Settings(), stream=True, cache=None)
    with pytest.raises(ConfigError, match="--cache"):
        reading.event_source(CALO, [file], Settings(), stream=None, cache=tmp_path)
