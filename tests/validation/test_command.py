from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from hepflows import registry
from hepflows.errors import ConfigError, DataError, OutputError
from validation.command import name_files, validate

BENCHMARK = {
    "schema": "hepflows-benchmark/1",
    "benchmark": "artefact",
    "settings": {"device": "cpu", "quick": True},
    "machine": {"cpu": "A processor", "cores": 4, "torch_threads": 2, "versions": {"torch": "2.9"}},
    "sampling": {"1": {"ms": 2.0, "ms_quartile_low": 1.9, "ms_quartile_high": 2.2, "events_per_second": 500.0}},
}


@pytest.fixture
def files(tmp_path, monkeypatch, points, domain):
    """Three files that the registry reads as points; the seed is their content."""

    def read(path, *, part=(0.0, 1.0)):
        seed, shift = path.read_text().split()
        return points(round(400 * (part[1] - part[0])), seed=int(seed), shift=float(shift))

    for name, content in (("truth", "1 0"), ("fast", "2 0"), ("off", "3 1.5")):
        (tmp_path / f"{name}.h5").write_text(content)
    monkeypatch.setattr("validation.report.gallery", lambda *_, **__: iter(()))  # pictures take seconds
    monkeypatch.setattr(registry, "task_for_file", lambda _path: SimpleNamespace(read=read, domain=domain))
    return tmp_path


def run(files, *generated, **options):
    options = {"out": files / "report", "trainings": 1, "epochs": 2, "device": "cpu"} | options
    return validate(files / "truth.h5", *generated, **options)


def test_report_and_exit_codes(files, capsys):
    assert run(files, str(files / "fast.h5"), f"shifted={files / 'off.h5'}") == 0
    document = json.loads((files / "report" / "report.json").read_text())
    assert document["n_generated"] == {"fast": 400, "shifted": 400}
    assert document["provenance"]["shifted"] == {"file": "off.h5"}
    assert "separation_mean" in capsys.readouterr().err

    gates = files / "gates.toml"
    gates.write_text("[gates]\nw1_a = { max = 0.5 }\n")
    assert run(files, str(files / "fast.h5"), gates=gates, force=True) == 0
    assert run(files, str(files / "off.h5"), gates=gates, force=True) == 1
    assert "gate failed: off: w1_a" in capsys.readouterr().err


def test_default_gates_by_word_and_by_flag(files, capsys):
    for options in ({"gates": Path("default")}, {"default_gates": True}):
        assert run(files, str(files / "fast.h5"), trainings=0, force=True, **options) == 0
        assert run(files, str(files / "off.h5"), trainings=0, force=True, **options) == 1
    assert "gate failed: off: w1_a" in capsys.readouterr().err
    gates = files / "gates.toml"
    gates.write_text('[gates]\n"*" = { max = 1e9 }\n')
    assert run(files, str(files / "off.h5"), trainings=0, force=True, gates=gates, default_gates=True) == 0


def test_baseline_names_what_is_worse(files, capsys):
    assert run(files, str(files / "fast.h5"), trainings=0) == 0
    old = files / "old.json"
    (files / "report" / "report.json").rename(old)
    assert run(files, str(files / "fast.h5"), trainings=0, force=True, baseline=old) == 0
    assert run(files, str(files / "off.h5"), trainings=0, force=True, baseline=old) == 1
    assert "worse than the baseline: off: w1_a is" in capsys.readouterr().err
    document = json.loads((files / "report" / "report.json").read_text())
    assert document["passed"] is document["baseline"]["passed"] is False
    assert "w1_a" in [worse["metric"] for worse in document["baseline"]["worse"]]
    assert "Worse than the baseline" in (files / "report" / "report.html").read_text()
    with pytest.raises(DataError, match="no such sample"):
        run(files, str(files / "fast.h5"), str(files / "off.h5"), force=True, baseline=old)


def test_training_events_and_timing(files):
    (files / "train.h5").write_text("4 0")
    speed = files / "speed.json"
    speed.write_text(json.dumps(BENCHMARK))
    options = {"training": files / "train.h5", "training_part": "0:0.5", "timing": [f"fast={speed}"]}
    assert run(files, str(files / "fast.h5"), trainings=0, **options) == 0
    document = json.loads((files / "report" / "report.json").read_text())
    entry = document["samples"]["fast"]["memorisation_ratio"]
    assert entry["value"] == pytest.approx(1, abs=5 * entry["error"])
    assert document["timing"]["fast"]["sampling"]["1"]["ms"] == 2.0
    assert "A processor" in (files / "report" / "report.html").read_text()


def test_part_of_the_reference(files):
    run(files, str(files / "fast.h5"), part="0.5:1", trainings=0)
    assert json.loads((files / "report" / "report.json").read_text())["n_reference"] == 200


def test_bad_input_leaves_nothing(files):
    with pytest.raises(DataError, match="does not exist"):
        run(files, str(files / "missing.h5"))
    with pytest.raises(ConfigError, match="preset"):
        run(files, str(files / "fast.h5"), preset="best")
    with pytest.raises(ConfigError, match="part"):
        run(files, str(files / "fast.h5"), part="1:0")
    with pytest.raises(DataError, match="too few"):
        run(files, str(files / "fast.h5"), part="0:0.1")
    assert not (files / "report").exists()
    (files / "report").mkdir()
    with pytest.raises(OutputError, match="exists"):
        run(files, str(files / "fast.h5"))


def test_names_of_samples(tmp_path):
    assert {k: v.name for k, v in name_files(["a/fast.h5", "mine=b/x.h5"]).items()} == {
        "fast": "fast.h5",
        "mine": "x.h5",
    }
    odd = tmp_path / "n=5.h5"
    odd.touch()
    assert name_files([str(odd)]) == {"n=5": odd}
    for bad in (["a/x.h5", "b/x.h5"], ["=x.h5"], ["name="], ["reference=x.h5"], []):
        with pytest.raises(ConfigError):
            name_files(bad)
