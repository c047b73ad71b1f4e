"""The tutorials' scripts do what their pages say, at small sizes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

import calofast as cf
import hepflows
from hepflows.errors import ConfigError

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # trainings of one epoch have reason to warn


def is_picture(file: Path) -> bool:
    return file.read_bytes().startswith(b"\x89PNG") and file.stat().st_size > 2000


def test_detector(example, tmp_path) -> None:
    tutorial = example("tutorial_detector")
    fast = tutorial.main(ROOT / "tests/data/detector_hits.root", tmp_path, epochs=1)
    assert fast.geometry.same_cells(tutorial.my_calorimeter())
    assert len(fast) == 80
    again = cf.read_showers(tmp_path / "fast.root")
    np.testing.assert_array_equal(again.voxels_mev, fast.voxels_mev)
    assert is_picture(tmp_path / "tutorial-detector.png")


def test_jets(example, tmp_path) -> None:
    tutorial = example("tutorial_jets")
    window = tutorial.main(tmp_path, epochs=1, n=256)
    low, high = tutorial.WINDOW
    assert low * (1 - 1e-5) <= window.mass_rel.min()
    assert window.mass_rel.max() <= high * (1 + 1e-5)
    assert is_picture(tmp_path / "tutorial-jets.png")


@pytest.mark.slow
def test_embed(example, tmp_path) -> None:
    tutorial = example("tutorial_embed")
    file = tutorial.main(tmp_path, epochs=1, n=64)
    assert {path.name for path in tmp_path.iterdir()} >= {"student.onnx", "student.manifest.json", "student.golden.bin"}
    assert tutorial.host(file, [10.0, 50.0], seed=7).shape == (2, 504)
    assert is_picture(tmp_path / "tutorial-embed.png")


def test_validate_finds_the_faults(example, tmp_path) -> None:
    tutorial = example("tutorial_validate")
    found = tutorial.main(tmp_path, sizes=(300,), replicas=10).samples
    pulls = {
        sample: {name: tutorial.pull(metrics[name]) for name in tutorial.SHOWN} for sample, metrics in found.items()
    }
    assert max(map(abs, pulls["right"].values())) < 5
    assert pulls["scaled"]["e_tot_ratio_mean"] > 20
    assert abs(pulls["shuffled"]["e_tot_ratio_mean"]) < 5
    assert (tmp_path / "report" / "report.html").is_file()
    assert is_picture(tmp_path / "tutorial-validate.png")


def test_refine_gives_weights(example, tmp_path) -> None:
    tutorial = example("tutorial_refine")
    showers = tutorial.coarse_showers()
    fine = cf.read_showers(cf.embedded_showers_path())
    np.testing.assert_allclose(showers.layer_energies_mev, fine.layer_energies_mev, rtol=1e-5)
    weighted = tutorial.main(tmp_path, epochs=3, classifier_epochs=2)
    events = weighted.sample({"incident_energy_gev": np.full(100, 50.0)}, seed=1)
    assert events.weights.min() >= 0
    assert hepflows.load(tmp_path / "weighted").method == "dctr"
    assert is_picture(tmp_path / "tutorial-refine.png")


def test_jobs_make_the_whole(example, tmp_path, monkeypatch) -> None:
    tutorial = example("tutorial_scale_out")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    monkeypatch.setattr(tutorial, "EVENTS", 300)
    assert tutorial.main(tmp_path, jobs=2, epochs=1)
    assert is_picture(tmp_path / "tutorial-scale-out.png")


def test_the_plug_in_is_a_command_and_a_metric(example, capsys) -> None:
    plugin = example("profile_plugin")
    plugin.profile(cf.embedded_showers_path(), first=50)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["layer_0", "layer_1", "layer_2"]
    with pytest.raises(ConfigError, match="not a number of showers"):
        plugin.profile(cf.embedded_showers_path(), first=0)


@pytest.mark.parametrize("name", ["detector", "jets", "embed", "validate", "refine", "scale-out"])
def test_the_page_shows_the_picture(name: str) -> None:
    page = (ROOT / "docs" / "tutorials" / f"{name}.md").read_text(encoding="utf-8")
    assert f"(../images/tutorial-{name}.png)" in page
    assert f"tutorial_{name.replace('-', '_')}.py" in page
    assert (ROOT / "docs" / "images" / f"tutorial-{name}.png").stat().st_size < 60_000
