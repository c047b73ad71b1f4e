"""The ablation: one change at a time, measured once, on showers that the table does not compare with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import calofast as cf
from benchmarks import shower_ablation
from benchmarks.shower_recipes import ABLATIONS, Ablation, Variant
from benchmarks.shower_runs import configuration
from hepflows.files import sha256_of

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "ablation"
TINY = (
    "teacher.blocks=1",
    "teacher.hidden=[16]",
    "teacher.head.blocks=2",
    "teacher.head.width=8",
    "teacher.training.epochs=1",
    "layer_energies.blocks=1",
    "layer_energies.hidden=[8]",
    "layer_energies.training.epochs=1",
    "student.hidden=[16]",
    "student.training.epochs=1",
    "student.likelihood.epochs=1",
)


@pytest.fixture
def data(tmp_path, monkeypatch):
    folder = tmp_path / "data" / "showers"
    folder.mkdir(parents=True)
    cf.write_showers(cf.read_showers(cf.embedded_showers_path(), first=600), folder / "eplus.h5")
    monkeypatch.setenv("HEPFLOWS_DATA", str(folder.parent))
    return folder / "eplus.h5"


@pytest.fixture
def study(monkeypatch):
    variants = (Variant("recipe", "as it is", (), (1, 2)), Variant("noise", "noise only", ("student.loss.beta=0",)))
    monkeypatch.setitem(ABLATIONS, "distillation", Ablation("maf", "student", TINY, variants))


@pytest.mark.parametrize("study", ABLATIONS)
def test_every_variant_is_a_configuration_of_its_own(study):
    ablation = ABLATIONS[study]
    found = [configuration(ablation.recipe, (*ablation.common, *variant.settings)) for variant in ablation.variants]
    assert all(one != other for i, one in enumerate(found) for other in found[:i])
    assert len({variant.name for variant in ablation.variants}) == len(found)
    assert ablation.variants[0].settings == ()


def test_students_of_a_seed_share_their_teacher(data, study, tmp_path, capsys):
    out = tmp_path / "runs"
    sizes = ["--preset", "quick", "--trainings", "1", "--epochs", "1"]
    given = ["run", "--out", str(out), "--studies", "distillation", *sizes]
    assert shower_ablation.main(given) == 0
    folder = out / "distillation"
    teachers = {
        path: sha256_of(folder / path / "teacher" / "weights.safetensors")
        for path in ("recipe/seed1", "recipe/seed2", "noise/seed1")
    }
    assert teachers["recipe/seed1"] == teachers["noise/seed1"] != teachers["recipe/seed2"]
    students = {
        sha256_of(folder / path / "student" / "weights.safetensors") for path in ("recipe/seed1", "noise/seed1")
    }
    assert len(students) == 2
    found = json.loads((folder / "noise" / "seed1" / "student.json").read_text())
    assert found["training"]["n_showers"] == 360
    assert found["metrics"]["auc_log"]["n_train_per_class"] == 72
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert shower_ablation.main(given) == 0
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert shower_ablation.main(["show", "--out", str(out), "--studies", "distillation"]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split("|")[1:3] for row in rows] == [
        [" Geant4 itself ", "  "],
        [" the teacher ", " 1 "],
        [" the teacher ", " 2 "],
        [" as it is ", " 1 "],
        [" as it is ", " 2 "],
        [" noise only ", " 1 "],
    ]


def test_variants_train_beside_each_other(data, study, tmp_path):
    out = tmp_path / "runs"
    assert shower_ablation.main(["train", "--out", str(out), "--studies", "distillation", "--variants", "noise"]) == 0
    folder = out / "distillation"
    assert sorted(str(path.relative_to(folder)) for path in folder.glob("*/*")) == ["common/seed1", "noise/seed1"]
    assert not list(folder.rglob("student.json"))
    with pytest.raises(SystemExit):
        shower_ablation.main(["train", "--out", str(out), "--variants", "unknown"])


@pytest.mark.parametrize("study", [path.name for path in RESULTS.iterdir() if path.is_dir()])
def test_the_page_quotes_the_results(study):
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    found = shower_ablation.table(study, RESULTS)
    assert len(found.splitlines()) > 3
    assert "| Geant4 itself |" in found
    assert found in text


def test_without_data_the_variable_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("HEPFLOWS_DATA", raising=False)
    assert shower_ablation.main(["run", "--out", str(tmp_path)]) == 2
    assert "HEPFLOWS_DATA" in capsys.readouterr().err
