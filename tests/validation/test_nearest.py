from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

import validation
from hepflows.errors import DataError
from hepflows.observable import Observable
from validation.event_table import fit_scale
from validation.gates import Gate
from validation.nearest import SHARE, duplicates, memorisation, neighbour_distances, weighted_quantile
from validation.nearest_plots import nearest_figure
from validation.settings import Settings
from validation.views import NearestView

SETTINGS = Settings(trainings=0, replicas=50)


def gaussian(n, seed, dimensions=5):
    return np.random.default_rng(seed).normal(size=(n, dimensions))


def test_neighbour_distances_agree_with_a_tree():
    points, among = gaussian(200, 1), gaussian(300, 2)
    np.testing.assert_allclose(neighbour_distances(points, among), cKDTree(among).query(points)[0], rtol=1e-12)
    np.testing.assert_allclose(neighbour_distances(points), cKDTree(points).query(points, k=2)[0][:, 1], rtol=1e-12)
    assert np.isnan(neighbour_distances(points[:1])).all()


def test_a_copy_has_distance_zero_even_far_from_the_origin():
    points = gaussian(300, 3, dimensions=40)
    points[7] = points[11] = 60.0
    found = neighbour_distances(points)
    assert found[7] == found[11] == 0.0
    assert np.delete(found, [7, 11]).min() > 1e-3


def test_weighted_quantile_is_that_of_repeated_values():
    values = np.random.default_rng(4).normal(size=99)
    counts = np.random.default_rng(5).integers(0, 4, 99)
    for q in (0.01, 0.5, 0.9):
        expected = np.quantile(np.repeat(values, counts), q, method="inverted_cdf")
        assert weighted_quantile(values, q, counts[None].astype(float))[0] == expected


def test_events_of_the_simulation_are_not_memorised():
    training = gaussian(3000, 6)
    pulls = []
    for seed in range(20):
        distances = (neighbour_distances(gaussian(1000, 100 + 2 * seed + k), training) for k in (0, 1))
        ratio, share = memorisation(*distances, replicas=50, seed=seed)
        pulls.append(((ratio.value - 1) / ratio.error, (share.value - SHARE) / share.error))
    assert np.mean(pulls, axis=0) == pytest.approx([0, 0], abs=1.0)
    assert np.std(pulls, axis=0) == pytest.approx([1, 1], abs=0.5)


def test_remembered_events_are_found():
    training, held_out = gaussian(3000, 7), neighbour_distances(gaussian(1000, 8), training := gaussian(3000, 7))
    noisy = training[:1000] + 0.05 * gaussian(1000, 9)
    ratio, share = memorisation(neighbour_distances(noisy, training), held_out, replicas=50, seed=0)
    assert ratio.value < 0.5
    assert share.value > 0.2
    some = np.concatenate([training[:50], gaussian(950, 10)])  # one copy in twenty: the median does not see it
    ratio, share = memorisation(neighbour_distances(some, training), held_out, replicas=50, seed=0)
    assert ratio.value == pytest.approx(1, abs=0.1)
    assert share.value - SHARE > 4 * share.error


def test_a_reference_of_training_events_is_an_error():
    training = gaussian(200, 11)
    distances = neighbour_distances(training[:100], training)
    with pytest.raises(DataError, match="half of the reference are training events"):
        memorisation(distances, distances, replicas=10, seed=0)


def test_duplicates_count_repeated_and_near_events():
    reference = neighbour_distances(gaussian(1000, 12))
    points = gaussian(1000, 13)
    same, near = duplicates(neighbour_distances(points), reference, replicas=50, seed=0)
    assert same.value == 0
    assert near.value == pytest.approx(SHARE, abs=4 * near.error + 1e-9)
    points[:60] = points[100:160]
    same, near = duplicates(neighbour_distances(points), reference, replicas=50, seed=0)
    assert same.value == pytest.approx(0.12)
    assert near.value >= same.value


def test_weights_count_like_repeated_events():
    distances = neighbour_distances(gaussian(500, 14), training := gaussian(800, 15))
    held_out = neighbour_distances(gaussian(500, 16), training)
    weights = np.random.default_rng(17).integers(1, 4, 500)
    weighted = memorisation(distances, held_out, replicas=5, seed=0, weights=(weights.astype(float), None))
    repeated = memorisation(np.repeat(distances, weights), held_out, replicas=5, seed=0)
    assert [e.value for e in weighted] == pytest.approx([e.value for e in repeated])


def test_table_is_standardised_and_undefined_values_lie_at_the_mean():
    rng = np.random.default_rng(18)
    width = rng.normal(40, 3, 100)
    width[3] = np.nan
    energy = 10.0 ** rng.normal(2, 1, 100)
    energy[5] = 0.0
    common = {"label": "", "unit": "", "group": ""}
    observables = (
        Observable(name="width", values=width, **common),
        Observable(name="energy", values=energy, log=True, **common),
        Observable(name="constant", values=np.ones(100), **common),
        Observable(name="spectrum", values=np.ones((100, 3)), **common),
    )
    table = (scale := fit_scale(observables)).apply(observables)
    assert scale.names == ("width", "energy", "constant")
    assert table[3, 0] == 0
    assert table[5, 1] == table[:, 1].min()
    np.testing.assert_allclose(np.delete(table[:, 0], 3).std(), 1)
    np.testing.assert_allclose(table[:, 1].std(), 1)
    assert (table[:, 2] == 0).all()
    assert fit_scale(observables[3:]) is None


def test_comparison_tells_a_generator_that_copies(points, domain):
    training, reference = points(1000, seed=1), points(800, seed=2)
    result = validation.compare(
        reference,
        {"good": points(400, seed=3), "copies": training.select(np.arange(400))},
        domain,
        settings=Settings(trainings=0, replicas=50, gates={"memoris*": Gate(m=4)}, seed=1),
        training=training,
    )
    good, copies = result.samples["good"], result.samples["copies"]
    assert good["memorisation_ratio"].pull() < 4
    assert copies["memorisation_ratio"].value == 0
    assert copies["memorised_share"].value == 1
    assert good["memorised_share"].target == SHARE
    assert copies["memorisation_ratio"].floor == good["memorisation_ratio"].floor
    assert {gate.sample for gate in result.gates if not gate.passed} == {"copies"}
    assert set(result.views.nearest) == {"reference", "good", "copies"}


def test_picture_has_a_panel_for_training_events_only_if_they_are_known():
    distances = neighbour_distances(gaussian(50, 1))
    copies = NearestView(to_training=np.zeros(50), to_others=distances)
    figure = nearest_figure({"truth": NearestView(to_training=distances, to_others=distances), "copies": copies})
    assert len(figure.axes) == 2
    bars = figure.axes[0].patches[1].get_data().values
    assert bars[0] == 1  # all copies stand in the first bin
    assert len(nearest_figure({"truth": NearestView(to_training=None, to_others=distances)}).axes) == 1


def test_duplicates_are_measured_without_training_events(points, domain):
    twice = points(200, seed=3).select(np.arange(400) % 200)
    metrics = validation.compare(points(800, seed=2), twice, domain, settings=SETTINGS).samples["generated"]
    assert metrics["duplicates"].value == 1
    assert metrics["duplicates"].floor == 0
    assert "memorisation_ratio" not in metrics


def test_no_training_events_is_an_error(points, domain):
    with pytest.raises(DataError, match="no training events"):
        validation.compare(
            points(400, seed=2), points(200, seed=3), domain, settings=SETTINGS, training=points(0, seed=1)
        )


def test_copies_are_counted_beside_training_events_in_the_reference():
    training = gaussian(3000, 7)
    reference = np.concatenate([training[-50:], gaussian(950, 8)])  # 5 % of it
    copies = np.concatenate([training[:500], gaussian(500, 10)])
    distances = (neighbour_distances(some, training) for some in (copies, reference))
    assert memorisation(*distances, replicas=50, seed=0)[1].value == pytest.approx(0.5)
