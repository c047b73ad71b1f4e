"""Where a student falls behind: what the figures are made of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import calofast as cf
from benchmarks import student_gap
from calofast.config import CaloFlowConfig

TINY = {
    "layer_energies": {"blocks": 2, "hidden": (8,), "training": {"epochs": 1}},
    "teacher": {"blocks": 3, "hidden": (16,), "training": {"epochs": 1}},
    "student": {"hidden": (16,), "training": {"epochs": 1}},
}

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "student_gap"


@pytest.fixture(scope="module")
def showers():
    return cf.read_showers(cf.embedded_showers_path(), first=200)


@pytest.fixture(scope="module")
def pair(showers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    teacher = cf.fit(cf.CaloFlow(showers.geometry, CaloFlowConfig(**TINY)), showers)
    teacher.save(folder / "teacher")
    cf.distill(teacher, showers).save(folder / "student")
    return folder


def test_what_is_given_is_equal_and_the_rest_is_not(pair, showers):
    teacher, student = (cf.CaloGenerator.load(pair / kind) for kind in ("teacher", "student"))
    found = student_gap.gap(teacher, student, showers, seed=3)
    data, noise = found["blocks"]["data"], found["blocks"]["noise"]
    assert len(data) == len(noise) == 4
    assert data[-1] == 0.0
    assert noise[0] == 0.0
    assert min(data[:-1]) > 0
    assert min(noise[1:]) > 0
    layers = found["layers"]["data"]
    sizes = [layer.n_voxels for layer in showers.geometry.layers]
    whole = sum(size * rms**2 for size, rms in zip(sizes, layers, strict=True)) / sum(sizes)
    assert whole == pytest.approx(data[0] ** 2, rel=1e-4)
    rows = found["energies"]
    assert sum(row["n"] for row in rows) == len(showers)
    mean = sum(row["n"] * row["likelihood"] for row in rows) / len(showers)
    assert mean == pytest.approx(found["likelihood"]["mean"], rel=1e-6)
    behind = teacher.log_prob(showers, seed=3).voxels.mean() - student.log_prob(showers, seed=3).voxels.mean()
    assert found["likelihood"]["mean"] == pytest.approx(behind, rel=1e-6)


def test_the_command(pair, tmp_path, capsys):
    file = tmp_path / "gap.json"
    given = [str(pair / "teacher"), str(pair / "student"), str(cf.embedded_showers_path())]
    assert student_gap.main([*given, "--read", "first=50", "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "| behind block 2 |" in printed
    assert f"| all | | | | {json.loads(file.read_text())['likelihood']['mean']:.2f} ±" in printed


@pytest.mark.parametrize(("first", "second", "message"), [
    ("teacher", "teacher", "teacher, student"),
    ("student", "missing", "missing"),
])  # fmt: skip
def test_what_does_not_belong_together_is_refused(pair, capsys, first, second, message):
    given = [str(pair / first), str(pair / second), str(cf.embedded_showers_path())]
    assert student_gap.main(given) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_the_page_quotes_the_results(path):
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    found = json.loads(path.read_text(encoding="utf-8"))
    blocks, energies = student_gap.text(found).split("\n\n")
    assert energies in page
    assert (blocks in page) == (path.stem == "recipe")
