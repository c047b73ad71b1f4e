"""The numbers of the jet studies, against samples whose answers are known, and small studies from end to end."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import jetgen as jg
from benchmarks import jet_measures, jet_studies, jet_studies_runs
from benchmarks import jet_studies_numbers as numbers
from benchmarks.jet_studies_settings import Settings, collect, once
from benchmarks.jet_studies_text import SECTIONS, figure, tables
from hepflows.errors import ConfigError
from hepflows.philox import normal_noise
from jetgen.mass_kernel import jet_masses
from jetgen.reading import embedded_jets_path
from jetgen.tagger import tagger_activations

SMALL = ("coupling.blocks=2", "coupling.width=8", "coupling.depth=1", "training.batch_size=50")


@pytest.fixture(scope="module")
def jets() -> jg.Jets:
    return jg.read_jets(embedded_jets_path(), first=1000)


@pytest.fixture(scope="module")
def generator(jets: jg.Jets) -> Any:
    coupling = {"blocks": 2, "width": 8, "depth": 1}
    return jg.fit(jg.JetFlow("exact", coupling=coupling, training={"epochs": 1, "batch_size": 100}), jets)


@pytest.fixture(scope="module")
def file(jets: jg.Jets, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    (root / "jets").mkdir()
    jg.write_jets(jets, root / "jets" / "t.hdf5")
    return root


@pytest.fixture
def data(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file of top jets, and fewer draws than the studies make."""
    monkeypatch.setenv("HEPFLOWS_DATA", str(file))
    monkeypatch.setattr(jet_measures, "W1_SAMPLES", 200)
    monkeypatch.setattr(numbers, "REPLICAS", 10)
    monkeypatch.setattr(jet_studies_runs, "NEIGHBOURS", 100)


@pytest.fixture(scope="module")
def cells(generator: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cells")
    generator.save(root / "t" / "exact" / "generator")
    return root


def agrees(found: Any, expected: float) -> bool:
    return 0 < found.error < math.inf and abs(found.value - expected) < 4 * found.error


def test_bias_and_spread_are_those_of_the_masses() -> None:
    values = np.random.default_rng(1).normal(0.02, 0.05, 5000)
    found = numbers.mass_following(np.concatenate([values, [np.nan]]), seed=2)
    assert agrees(found["bias"], 0.02)
    assert agrees(found["spread"], 0.05 * 0.99446)  # 16 % are half of 32 %, not of 31.73 %
    assert found["bias"].error == pytest.approx(0.05 * math.sqrt(math.pi / 2 / 5000), rel=0.3)
    assert found["off_99"].value == pytest.approx(np.quantile(np.abs(values), 0.99))
    assert found["off_max"].value == np.abs(values).max()


def test_bootstrap_gives_the_error_of_a_mean() -> None:
    values = np.random.default_rng(3).normal(0.0, 2.0, 400)
    (found,) = numbers.bootstrapped(lambda x: (x.mean(),), values, seed=4, replicas=300)
    assert found.value == values.mean()
    assert found.error == pytest.approx(values.std() / 20, rel=0.2)


def test_misses_are_those_between_the_jets_before_and_after_the_mass_is_exact(generator: Any) -> None:
    n, seed = 300, 5  # more than a tile
    conditions = generator.draw_conditions(n, seed=seed)
    misses = numbers.mass_misses(generator, conditions, seed=seed)
    matrix = torch.from_numpy(generator.condition_matrix(conditions))
    with torch.no_grad():
        free = generator.model.unconstrained(torch.from_numpy(normal_noise(seed, 0, n, generator.noise_dim)), matrix)
    before = jet_masses(free.eta.numpy(), free.phi.numpy(), free.pt.numpy())
    np.testing.assert_allclose(misses, np.log(matrix[:, 0].numpy() / before), rtol=0, atol=1e-4)
    assert np.ptp(misses) > 0.01
    found = numbers.miss_moments(np.concatenate([misses, [np.nan]]), seed=1)
    assert found["miss"].value == pytest.approx(misses.mean())
    assert found["miss_spread"].value == pytest.approx(misses.std())


def test_share_inside_a_window() -> None:
    mass = np.array([0.0, 0.0799, 0.08 * (1 - 5e-6), 0.09, 0.1, 0.1 * (1 + 5e-6), 0.1001])
    np.testing.assert_array_equal(numbers.within(mass, (0.08, 0.1)), [0, 0, 0, 1, 1, 0, 0])
    chosen = numbers.within(mass, (0.08, 0.1), tolerance=1e-5)
    np.testing.assert_array_equal(chosen, [0, 0, 1, 1, 1, 1, 0])
    assert numbers.share(chosen).value == pytest.approx(4 / 7)
    half = numbers.share(np.arange(10_000) < 5000)
    assert (half.value, half.error) == (0.5, pytest.approx(0.005, rel=1e-3))
    every = numbers.share(np.ones(1000, bool))
    assert (every.value, every.error) == (1.0, pytest.approx(1e-3, rel=0.01))


def test_exact_distances_leave_empty_slots_out(jets: jg.Jets) -> None:
    few = jets.select(slice(300))
    assert not few.mask.all()
    moved = replace(few, eta_rel=np.where(few.mask, few.eta_rel + np.float32(0.03), np.float32(0)))
    found = numbers.exact_wasserstein(few, moved, seed=1)
    assert found["w1p"].value == pytest.approx(0.01, rel=1e-4)
    assert found["w1m"].value < 1e-6
    harder = replace(few, pt_rel=few.pt_rel * np.float32(1.02))
    found = numbers.exact_wasserstein(few, harder, seed=1)
    assert found["w1m"].value == pytest.approx(0.02 * few.mass_rel.mean(), rel=1e-4)
    assert 0 < found["w1m"].error < 0.02


def test_shapes_of_other_jets_are_farther(jets: jg.Jets, data: None) -> None:
    one, two = jets.select(slice(500)), jets.select(slice(500, None))
    wide = replace(two, eta_rel=1.5 * two.eta_rel)
    ours = numbers.shape_measures(one)
    near, far = (numbers.compare_shapes(ours, numbers.shape_measures(other), seed=1) for other in (two, wide))
    assert set(near) == set(far) == set(numbers.SHAPE_METRICS)
    assert all(far[name].value > near[name].value + far[name].error for name in near)


def test_drawn_distance_grows_by_a_shift(jets: jg.Jets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jet_measures, "W1_SAMPLES", 2000)
    masses = jets.mass_rel
    found = [jet_measures.drawn_wasserstein(masses, masses + shift, seed=3) for shift in (0.0, 0.5)]
    assert found[0].value < 0.05
    assert found[1].value == pytest.approx(0.5, abs=5 * found[1].error + 0.01)


def test_copies_of_training_jets_are_found() -> None:
    rng = np.random.default_rng(6)
    training, held_out, others = (rng.normal(size=(n, 8)) for n in (600, 900, 1000))
    theirs = numbers.nearest_distances(held_out, training)
    assert theirs[7] == pytest.approx(np.linalg.norm(training - held_out[7], axis=1).min())
    honest = numbers.memorisation(numbers.nearest_distances(others, training), theirs, seed=1)
    assert agrees(honest["distance_ratio"], 1.0)
    assert agrees(honest["share_near"], 0.01)
    copied = np.concatenate([training[:300] + 1e-3, others[:700]])
    found = numbers.memorisation(numbers.nearest_distances(copied, training), theirs, seed=1)
    assert found["share_near"].value == pytest.approx(0.31, abs=0.02)
    copies = numbers.memorisation(numbers.nearest_distances(training, training), theirs, seed=1)
    assert copies["distance_ratio"].value == 0.0
    assert copies["share_near"].value == 1.0
    far = numbers.memorisation(theirs + 9, theirs, seed=1)["share_near"]
    assert (far.value, far.error) == (0.0, pytest.approx(1 / 900, rel=0.01))


def test_mirror_images_of_training_jets_are_found(jets: jg.Jets) -> None:
    known = jets.select(slice(20))
    every = numbers.with_mirror_images(known, ("eta", "phi"))
    assert len(every) == 80
    turned = replace(known, eta_rel=-known.eta_rel, phi_rel=-known.phi_rel)
    points = tagger_activations(turned)
    assert numbers.nearest_distances(points, tagger_activations(every)).max() < 1e-5
    assert numbers.nearest_distances(points, tagger_activations(known)).max() > 0.1


def test_figures_have_two_digits_of_their_error() -> None:
    assert figure({"value": 0.012345, "error": 0.00021}, 100) == "1.234 ± 0.021"
    assert figure({"value": 1234.5, "error": 87.0}) == "1234 ± 87"
    assert figure({"value": 2.5e-7, "error": 3.14e-8}) == "2.5e-07 ± 3.1e-08"
    assert figure({"value": 0.98765, "error": 0.0}) == "0.988"
    assert figure(None) == ""


def entry(study: str, name: str, group: str = "", **metrics: float) -> dict[str, Any]:
    values = {key: {"value": value, "error": 0.1 * value} for key, value in metrics.items()}
    return {"kind": "t", "study": study, "group": group, "name": name, "n_sample": 50, "metrics": values}


def test_tables_have_their_rows_in_order() -> None:
    plan = {"training": {"epochs": 3, "parameters": 99}, "sampling_cpu_ms": 0.123}
    text = tables(
        [
            entry("transform", "affine", w1m=3e-3) | plan,
            entry("transform", "floor", w1m=1e-3),
            entry("constituents", "exact", "10", w1m=4e-3),
            entry("constituents", "vnf", "2", w1m=5e-3),
            entry("constituents", "exact", "2", w1m=6e-3),
            entry("window", "exact", "0.08-0.1", inside=1.0, w1p=2e-3),
            entry("oversampling", "memory", "4000", distance_ratio=1.0),
            entry("oversampling", "x100", "4000", w1m=7e-3),
        ]
    )
    lines = [line for line in text.splitlines() if line and not line.startswith("|---")]
    assert lines == [
        "## Top: transform",
        "| couplings | jets | W1M x1e3 | epochs | parameters | ms a jet |",
        "| Pythia itself | 50 | 1.00 ± 0.10 |  |  |  |",
        "| affine couplings | 50 | 3.00 ± 0.30 | 3 | 99 | 0.123 |",
        "## Top: constituents",
        "| W1M x1e3, constituents | VNF | exact |",
        "| 2 | 5.00 ± 0.50 | 6.00 ± 0.60 |",
        "| 10 |  | 4.00 ± 0.40 |",
        "## Top: window",
        "| mass 0.08-0.1 | jets | inside [%] | W1P x1e3 |",
        "| exact | 50 | 100 ± 10 | 2.00 ± 0.20 |",
        "## Top: oversampling",
        "| trained on 4000 | jets | W1M x1e3 |",
        "| 100 times as many | 50 | 7.00 ± 0.70 |",
        "| distance to the nearest training jet | jets | ratio of medians |",
        "| generated | 50 | 1.00 ± 0.10 |",
    ]


def test_every_study_is_rendered() -> None:
    assert list(SECTIONS) == list(jet_studies_runs.STUDIES)


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    settings = Settings(out=tmp_path)
    for number in (1, 2):
        once(settings, settings.place("window", "a-b", "exact"), lambda number=number: {"number": number})
    (found,) = collect(tmp_path)
    assert {key: found[key] for key in ("kind", "study", "group", "name", "number")} == {
        "kind": "t",
        "study": "window",
        "group": "a-b",
        "name": "exact",
        "number": 1,
    }
    (tmp_path / "t" / "result.json").write_text(json.dumps({"variant": "of the jet table"}))
    assert len(collect(tmp_path)) == 1


def test_window_study_keeps_exact_masses_inside(data: None, cells: Path, tmp_path: Path, capsys: Any) -> None:
    shared = ["--out", str(tmp_path), "--cells", str(cells), "--generated", "60"]
    assert jet_studies.main(["run", "window", *shared, "--window", "0.1:0.14"]) == 0
    assert jet_studies.main(["run", "condition", *shared]) == 0
    assert "cnf_m is left out" in capsys.readouterr().err
    found = {(e["study"], e["name"]): e for e in collect(tmp_path)}
    assert set(found) == {("window", "floor"), ("window", "exact"), ("condition", "exact")}
    assert found["window", "exact"]["metrics"]["inside"]["value"] == 1.0
    assert set(found["window", "floor"]["metrics"]) == set(numbers.SHAPE_METRICS)
    following = found["condition", "exact"]["metrics"]
    assert following["off_max"]["value"] < numbers.TOLERANCE
    assert following["miss_spread"]["value"] > 0
    assert jet_studies.main(["show", "--out", str(tmp_path)]) == 0
    assert "| exact | 60 | 100" in capsys.readouterr().out


def test_oversampling_study(data: None, tmp_path: Path) -> None:
    overrides = [part for setting in SMALL for part in ("--set", setting)]
    arguments = ["run", "oversampling", "--out", str(tmp_path), "--minutes", "1e-4", "--first", "120", *overrides]
    assert jet_studies.main(arguments) == 0
    found = {entry["name"]: entry for entry in collect(tmp_path)}
    sizes = {name: found[name]["n_sample"] for name in found}
    assert sizes == {"known": 120, "others": 680, "x1": 120, "x10": 1200, "x100": 12_000, "memory": 100}
    assert found["x1"]["training"]["n_train"] == 108
    assert found["x1"]["metrics"]["w1m"]["value"] > 0
    assert found["memory"]["metrics"]["distance_ratio"]["value"] > 0.1


@pytest.mark.parametrize("text", ["", "0.1", "0.1:", "0.1:0.08", "0.1:0.1", "0:0.1", "a:b", "0.1:inf", "nan:1"])
def test_malformed_windows_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not a mass window"):
        jet_studies.parse_window(text)


def test_windows_are_read() -> None:
    assert jet_studies.parse_window("0.08:0.1") == (0.08, 0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "transfrom"], "did you mean transform?"),
        (["run", "constituents"], "HEPFLOWS_DATA is not set"),
        (["run", "window", "--window", "0.1"], "expected: LOW:HIGH"),
        (["run", "condition"], "--cells"),
        (["run", "condition", "--cells", "nowhere"], "no generators"),
        (["show"], "no results of a study"),
    ],
)
def test_bad_input_is_said_on_standard_error(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.delenv("HEPFLOWS_DATA", raising=False)
    assert jet_studies.main([*arguments, "--out", str(tmp_path)]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.out == ""


@pytest.mark.parametrize("option", [["--minutes", "nan"], ["--generated", "0"], ["--particles", "2,x"]])
def test_numbers_that_make_no_sense_are_refused(option: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as left:
        jet_studies.main(["run", "transform", "--out", str(tmp_path), *option])
    assert left.value.code == 2


def test_the_documents_quote_the_results(capsys):
    root = Path(__file__).parents[2]
    assert jet_studies.main(["show", "--out", str(root / "benchmarks" / "results" / "studies")]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(rows) > 10
    text = (root / "docs" / "jets.md").read_text(encoding="utf-8")
    assert all(row in text for row in rows)


def test_means_come_with_the_deviation_of_the_mean() -> None:
    values = np.random.default_rng(3).normal(2.0, 0.5, 1000)
    found = numbers.means([{"a": value} for value in values])["a"]
    assert agrees(found, 2.0)
    assert found.error == pytest.approx(0.5 / math.sqrt(1000), rel=0.1)


def test_constraint_study_compares_a_network_with_itself(
    data: None, jets: jg.Jets, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jet_studies_runs, "CONSTRAINT_SAMPLES", 2)
    coupling = {"blocks": 2, "width": 8, "depth": 1}
    free = jg.fit(jg.JetFlow("cnf_mn", coupling=coupling, training={"epochs": 1, "batch_size": 100}), jets)
    free.save(tmp_path / "cells" / "t" / "cnf_mn" / "generator")
    out = tmp_path / "studies"
    command = ["run", "constraint", "--out", str(out), "--kind", "t", "--generated", "100"]
    assert jet_studies.main([*command, "--cells", str(tmp_path / "cells")]) == 0
    rows = {entry["name"]: entry["metrics"] for entry in collect(out)}
    assert set(rows) == {"floor", "free", "made_exact", "difference"}
    for name in numbers.SHAPE_METRICS:
        one, two, difference = (rows[row][name]["value"] for row in ("free", "made_exact", "difference"))
        assert difference == pytest.approx(two - one, abs=1e-9)
    assert rows["difference"]["w1p"]["value"] != 0
    capsys.readouterr()
    assert jet_studies.main(["show", "--out", str(out)]) == 0
    assert "| the same, made exact | 100 |" in capsys.readouterr().out
    generators = tmp_path / "others" / "t" / "exact" / "generator"
    free.with_exact_mass().save(generators)
    assert jet_studies.main([*command, "--out", str(tmp_path / "x"), "--cells", str(tmp_path / "others")]) == 2
    assert "cnf_mn" in capsys.readouterr().err
