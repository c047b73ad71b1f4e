from __future__ import annotations

import dataclasses
import shutil
import weakref

import numpy as np
import pytest

import calofast as cf
import validation
from calofast import measured_files
from calofast.geometry import calochallenge, calogan
from calofast.measured_domain import MEASURED
from calofast.showers import Showers
from hepflows.errors import ConfigError, DataError, OutputError
from validation.settings import Settings


@pytest.fixture(scope="module")
def showers():
    return cf.read_showers(cf.embedded_showers_path(), first=600)


@pytest.fixture
def file(tmp_path, showers):
    return cf.write_showers(showers.select(slice(0, 150)), tmp_path / "showers.h5")


def chunks(showers, size):
    return (showers.select(slice(start, start + size)) for start in range(0, len(showers), size))


@pytest.mark.parametrize("weighted", [False, True])
def test_chunks_give_what_the_whole_gives(showers, weighted):
    if weighted:
        weights = np.random.default_rng(0).uniform(0.5, 2, len(showers))
        showers = dataclasses.replace(showers, weights=weights, conditions={"theta_rad": weights})
    measured = cf.measure_showers(chunks(showers, 130))
    assert len(measured) == len(showers)
    whole = {o.name: o for o in cf.OBSERVABLES.observables(showers)}
    found = {o.name: o for o in MEASURED.observables(measured)}
    assert set(whole) - set(found) == {"voxel_energy", "voxel_energy_0", "voxel_energy_1", "voxel_energy_2"}
    for name, observable in found.items():
        assert observable.values.dtype == np.float32
        np.testing.assert_allclose(observable.values, whole[name].values, rtol=1e-6, atol=1e-7, err_msg=name)
        assert (observable.label, observable.group) == (whole[name].label, whole[name].group)
    response, expected = MEASURED.response(measured), cf.OBSERVABLES.response(showers)
    np.testing.assert_allclose(response.signal, expected.signal, rtol=1e-6)
    for mine, theirs in zip(response.profiles, expected.profiles, strict=True):
        np.testing.assert_allclose(mine.values, theirs.values, rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(mine.edges, theirs.edges)
    for mine, theirs in zip(MEASURED.images(measured), cf.OBSERVABLES.images(showers), strict=True):
        np.testing.assert_allclose(mine.values, theirs.values, rtol=1e-4, atol=1e-6)
    for preset in ("quick", "calochallenge"):
        np.testing.assert_allclose(
            MEASURED.classifier_inputs(measured, preset=preset, inputs="high"),
            cf.OBSERVABLES.classifier_inputs(showers, preset=preset, inputs="high"),
            rtol=1e-5,
            atol=1e-6,
        )
    (mine,), (theirs,) = MEASURED.measures(measured), cf.OBSERVABLES.measures(showers)
    assert (mine.names, mine.label) == (theirs.names, theirs.label)
    np.testing.assert_allclose(mine.values, theirs.values, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(MEASURED.condition(measured), cf.OBSERVABLES.condition(showers))
    some = measured.select(np.array([5, 2]))
    np.testing.assert_array_equal(some.columns, measured.columns[[5, 2]])
    assert MEASURED.images(some) == ()


def test_comparison_of_streams_has_the_same_numbers(showers):
    first, second = showers.split(0.6, seed=1)
    settings = Settings(trainings=0, replicas=20)
    whole = validation.compare(first, second, cf.OBSERVABLES, settings=settings)
    streamed = validation.compare(
        cf.measure_showers(chunks(first, 100)), cf.measure_showers(chunks(second, 77)), MEASURED, settings=settings
    )
    a, b = whole.samples["generated"], streamed.samples["generated"]
    assert {name for name in set(a) - set(b) if "voxel_energy" not in name} == {
        "cell_occupancy_max",
        "cell_occupancy_chi2",
    }
    for name in set(b) - {"separation_mean"}:  # a mean over other observables
        if name.startswith(("layer_fraction", "e_tot", "response", "longitudinal", "radial", "w1")):
            assert b[name].value == pytest.approx(a[name].value, rel=1e-3, abs=1e-5), name
    assert streamed.domain_settings["voxels"] == "streamed"
    assert any("streamed" in text for text in streamed.cautions)


def test_memory_is_that_of_a_chunk(showers):
    given, most = [], 0

    def watched():
        nonlocal most
        for chunk in chunks(showers, 100):
            given.append(weakref.ref(chunk.voxels_mev))
            most = max(most, sum(reference() is not None for reference in given))
            yield chunk

    cf.measure_showers(watched())
    assert len(given) == 6
    assert most <= 2  # the one that is made while the last one is still held


def test_cache_follows_content_and_reading_not_names(file, tmp_path, monkeypatch):
    calls = []
    original = measured_files.measure_showers
    monkeypatch.setattr(measured_files, "measure_showers", lambda *a, **k: calls.append(1) or original(*a, **k))
    cache = tmp_path / "new" / "cache"
    first = cf.measure_file(file, cache=cache)
    again = cf.measure_file(file, cache=cache)
    assert len(calls) == 1
    for name in ("columns", "incident_energy_gev", "layers_mev", "radial_mev", "mean_mev"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert again.geometry == first.geometry
    copy = shutil.copy(file, tmp_path / "other.h5")
    assert cf.measure_file(copy, cache=cache).provenance["file"] == "other.h5"
    assert len(calls) == 1
    assert len(cf.measure_file(file, cache=cache, first=70)) == 70
    assert cf.measure_file(file, cache=cache, threshold_mev=5.0).columns.sum() != first.columns.sum()
    monkeypatch.setattr(measured_files, "_code_version", lambda: "another")
    cf.measure_file(file, cache=cache)
    assert len(calls) == 4
    # another content under the same name
    changed = cf.read_showers(file)
    cf.write_showers(dataclasses.replace(changed, voxels_mev=0.5 * changed.voxels_mev), file, force=True)
    assert not np.array_equal(cf.measure_file(file, cache=cache).layers_mev, first.layers_mev)
    # a damaged entry is no entry
    for entry in cache.iterdir():
        entry.write_bytes(entry.read_bytes()[:200])
    assert len(cf.measure_file(file, cache=cache)) == 150
    assert len(calls) == 6


def test_conditions_and_weights_survive_the_cache(tmp_path, showers):
    n = 120
    rich = dataclasses.replace(
        showers.select(slice(0, n)), conditions={"theta_rad": np.linspace(0, 1, n)}, weights=np.linspace(1, 2, n)
    )
    path = cf.write_showers(rich, tmp_path / "rich.h5")
    first, again = (cf.measure_file(path, cache=tmp_path / "cache") for _ in range(2))
    np.testing.assert_array_equal(again.conditions["theta_rad"], first.conditions["theta_rad"])
    np.testing.assert_allclose(again.weights, np.linspace(1, 2, n), rtol=1e-6)


def test_what_cannot_be_measured_is_refused(file, tmp_path, showers):
    with pytest.raises(DataError, match="no showers"):
        cf.measure_showers(iter(()))
    empty = np.zeros((4, 368), np.float32)
    other = Showers(geometry=calochallenge("photons"), incident_energy_gev=np.ones(4), voxels_mev=empty)
    with pytest.raises(DataError, match="do not fit"):
        cf.measure_showers([showers, other])
    with pytest.raises(ConfigError, match="threshold"):
        cf.measure_showers([showers], threshold_mev=-1.0)
    with pytest.raises(ConfigError, match="measured otherwise"):
        MEASURED.configured({"threshold_mev": 1.0})
    one, two = (cf.measure_showers([showers], threshold_mev=t) for t in (0.01, 0.02))
    with pytest.raises(DataError, match="different thresholds"):
        MEASURED.compatible(one, two)
    with pytest.raises(ConfigError, match="classifier inputs"):
        MEASURED.classifier_inputs(one, preset="quick", inputs="low")
    dark = dataclasses.replace(showers, voxels_mev=np.zeros((len(showers), calogan().n_voxels)))
    with pytest.raises(DataError, match="hit threshold"):
        MEASURED.compatible(cf.measure_showers([dark]), cf.measure_showers([dark]))
    (tmp_path / "taken").touch()
    with pytest.raises(OutputError, match="cache"):
        cf.measure_file(file, cache=tmp_path / "taken")
    assert not list(tmp_path.glob("*.npz"))
