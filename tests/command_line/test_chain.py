"""The chain of commands as a stranger uses it, over one tiny teacher and student."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from calofast.reading import embedded_showers_path, read_showers
from hepflows.cli import main

if TYPE_CHECKING:
    from pathlib import Path

EPLUS = embedded_showers_path()


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_inspect_tells_what_things_are(made: Path, capsys) -> None:
    assert run("inspect", EPLUS) == 0
    shown = capsys.readouterr().out
    assert "504 voxels" in shown
    assert "4000 x pdg -11" in shown
    for path, word in ((made / "run" / "teacher", "teacher"), (made / "student.onnx", "generic")):
        assert run("inspect", path) == 0
        shown = capsys.readouterr().out
        assert word in shown
        assert "condition incident_energy_gev" in shown
        assert "GeV" in shown
        assert "provenance: pdg" in shown


def test_inspect_reads_a_part_as_told(capsys) -> None:
    assert run("inspect", EPLUS, "--read", "energy_range_gev=[10,20]", "--read", "first=30") == 0
    assert "30 of 4000 entries" in capsys.readouterr().out


def test_generated_files_hold_the_events_of_their_seed(made: Path, tmp_path: Path) -> None:
    wanted = read_showers(made / "student.h5")
    assert wanted.geometry == read_showers(EPLUS, first=1).geometry
    np.testing.assert_array_equal(
        wanted.incident_energy_gev, read_showers(EPLUS, part=(0.8, 1.0), first=300).incident_energy_gev
    )
    student, onnx = made / "run" / "student", made / "student.onnx"
    like = ("--like", EPLUS, "--part", "0.8:1", "-n", 300, "--seed", 7)
    assert run("generate", student, *like, "--batch", 256, "--out", tmp_path / "again.root") == 0
    np.testing.assert_array_equal(read_showers(tmp_path / "again.root").voxels_mev, wanted.voxels_mev)
    assert run("generate", onnx, *like, "--out", tmp_path / "onnx.h5") == 0
    exported = read_showers(tmp_path / "onnx.h5")
    np.testing.assert_array_equal(exported.incident_energy_gev, wanted.incident_energy_gev)
    # the tail of differences is bounded by the exporter's own tests; the bulk must be float32 noise
    assert np.median(np.abs(exported.voxels_mev - wanted.voxels_mev)) < 1e-3


@pytest.mark.parametrize("kind", ["teacher", "student"])
def test_shares_add_up_to_the_whole(made: Path, tmp_path: Path, kind: str) -> None:
    sample = ("generate", made / "run" / kind, "--energy", "20..60GeV", "-n", 600, "--seed", 3)
    assert run(*sample, "--out", tmp_path / "all.h5") == 0
    parts = []
    for k in (1, 2, 3):
        assert run(*sample, "--shard", f"{k}/3", "--out", tmp_path / f"{k}.h5") == 0
        parts.append(read_showers(tmp_path / f"{k}.h5"))
    whole = read_showers(tmp_path / "all.h5")
    assert len(whole) == 600
    assert 20 < whole.incident_energy_gev.min() < whole.incident_energy_gev.max() < 60
    for name in ("incident_energy_gev", "voxels_mev"):
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name))


def test_validate_writes_a_report(made: Path, tmp_path: Path, capsys) -> None:
    classifier = ("--trainings", 1, "--epochs", 1, "--inputs", "high")
    files = (made / "teacher.h5", f"fast={made / 'student.h5'}")
    assert run("validate", EPLUS, *files, "--part", "0.8:1", *classifier, "--out", tmp_path / "report") == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["schema"] == "hepflows-report/1"
    assert report["n_generated"] == {"teacher": 300, "fast": 300}
    for sample in ("teacher", "fast"):
        assert {"e_tot_ratio_mean", "e_tot_ratio_std", "separation_mean", "auc_high"} <= set(report["samples"][sample])
        assert abs(report["samples"][sample]["e_tot_ratio_mean"]["value"] - 1) < 0.05
    page = (tmp_path / "report" / "report.html").read_text()
    assert "data:image/png" in page
    assert "auc_high" in capsys.readouterr().err


def test_distill_gives_another_student(made: Path, tmp_path: Path) -> None:
    teacher, changes = made / "run" / "teacher", ("--set", "student.hidden=[8]", "--set", "student.training.epochs=1")
    assert run("distill", teacher, "--data", EPLUS, "--out", tmp_path / "small", *changes) == 0
    assert (
        run("generate", tmp_path / "small", "--energy", "50GeV", "-n", 3, "--seed", 1, "--out", tmp_path / "o.h5") == 0
    )


def test_files_in_other_units_can_be_used_when_told(made: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    bad, out = made / "bad", tmp_path / "run"
    assert run("inspect", bad / "gev.h5", "--read", "units.voxels=GeV") == 0
    assert "voxels in GeV" in capsys.readouterr().out
    monkeypatch.setattr("validation.report.gallery", lambda *_, **__: iter(()))  # pictures take seconds
    files = (bad / "gev.h5", f"x={bad / 'mev.h5'}", "--out", tmp_path / "report", "--trainings", 0)
    told = ("--read", "units.voxels=GeV", "--read-generated", "units.incident_energy=MeV")
    assert run("validate", *files, *told) == 0
    short = [f"--set={name}.training.epochs=1" for name in ("layer_energies", "teacher", "student")]
    changes = ("--set", "data.units.voxels=GeV", *short)
    assert run("train", made / "config.toml", "--data", bad / "gev.h5", "--out", out, *changes) == 0
    assert run("generate", out / "student", "--energy", "50GeV", "-n", 30, "--seed", 1, "--out", tmp_path / "o.h5") == 0
    assert 0.5 < read_showers(tmp_path / "o.h5").e_tot_mev.mean() / 5e4 < 1.5
