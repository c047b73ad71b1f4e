"""Tables of observables: the container, discrete grids, scaling, and files in two formats."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from hepflows.discrete import Grid, find_grid, rounded, spread
from hepflows.errors import ConfigError, DataError, OutputError
from hepflows.feature_table import Column, FeatureTable, require_same_columns
from hepflows.scaling import Scaling
from hepflows.table_files import is_table, read_table, write_table
from hepflows.weights import training_weights, weighted_quantiles

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def table() -> FeatureTable:
    rng = np.random.default_rng(0)
    return FeatureTable(
        features=(Column(name="width", unit="mm"), Column(name="energy", unit="MeV", log=True)),
        values=np.stack([rng.normal(size=20), rng.exponential(size=20)], axis=1),
        conditions=(Column(name="incident_energy_gev", unit="GeV", log=True),),
        condition_values=rng.uniform(1, 9, (20, 1)),
        more={"movement": rng.random(20)},
    )


@pytest.mark.parametrize("suffix", [".h5", ".parquet"])
def test_files_give_the_table_back(table: FeatureTable, suffix: str, tmp_path: Path) -> None:
    path = write_table(table, tmp_path / f"t{suffix}")
    assert is_table(path)
    read = read_table(path)
    assert (read.features, read.conditions) == (table.features, table.conditions)
    np.testing.assert_array_equal(read.values, table.values)
    np.testing.assert_array_equal(read.condition_values, table.condition_values)
    np.testing.assert_array_equal(read.more["movement"], table.more["movement"])


@pytest.mark.parametrize("suffix", [".h5", ".parquet"])
def test_weights_are_kept(table: FeatureTable, suffix: str, tmp_path: Path) -> None:
    assert read_table(write_table(table, tmp_path / f"plain{suffix}")).weights is None
    weights = np.linspace(0, 2, 20)
    weighted = replace(table, weights=weights)
    read = read_table(write_table(weighted, tmp_path / f"t{suffix}"))
    assert read.weights is not None
    np.testing.assert_array_equal(read.weights, weights)
    assert (read.names, list(read.more)) == (table.names, ["movement"])
    chosen = weighted.select(np.array([3, 1]))
    np.testing.assert_array_equal(chosen.weights, weights[[3, 1]])
    with pytest.raises(DataError, match="weights"):
        replace(table, weights=np.ones(19))


def test_quantiles_of_weighted_values_are_those_of_repeated_ones() -> None:
    rng = np.random.default_rng(0)
    values, counts = rng.normal(size=50), rng.integers(0, 5, 50)
    shares = np.linspace(0, 1, 21)[1:]
    found = weighted_quantiles(values, shares, counts.astype(float))
    np.testing.assert_array_equal(found, np.quantile(np.repeat(values, counts), shares, method="inverted_cdf"))


def test_weights_that_no_density_has() -> None:
    assert training_weights(None, at_least=5) is None
    assert training_weights(np.full(10, 3.0), at_least=5) is None
    found = training_weights(np.array([1.0, 3.0] * 5), at_least=5)
    np.testing.assert_allclose(found, [0.5, 1.5] * 5)
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(DataError, match="finite and not negative"):
            training_weights(np.array([1.0, bad]), at_least=1, where="events.h5")
    with pytest.raises(DataError, match=r"few events carry all the weight[\s\S]*1 of 10 events"):
        training_weights(np.array([1.0] + [0.0] * 9), at_least=5)


@pytest.mark.parametrize("suffix", [".h5", ".parquet"])
def test_columns_can_be_chosen_by_name_and_order(table: FeatureTable, suffix: str, tmp_path: Path) -> None:
    path = write_table(table, tmp_path / f"t{suffix}")
    read = read_table(path, observables=["energy"], conditions=["width"])
    np.testing.assert_array_equal(read.values[:, 0], table.values[:, 1])
    np.testing.assert_array_equal(read.condition_values[:, 0], table.values[:, 0])
    with pytest.raises(ConfigError, match="did you mean energy"):
        read_table(path, observables=["enrgy"])


def test_foreign_parquet_is_read_without_text_columns(tmp_path: Path) -> None:
    path = tmp_path / "foreign.parquet"
    pq.write_table(pa.table({"a": [1.0, 2.0], "name": ["x", "y"], "m": [3, 4]}), path)
    read = read_table(path, conditions=["m"])
    assert (read.names, read.condition_names) == (("a",), ("m",))
    np.testing.assert_array_equal(read.condition_values, [[3.0], [4.0]])


def test_bad_tables_are_refused(table: FeatureTable, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.h5, \.hdf5 or \.parquet"):
        write_table(table, tmp_path / "t.csv")
    path = write_table(table, tmp_path / "t.h5")
    with pytest.raises(OutputError, match="exists"):
        write_table(table, path)
    with h5py.File(path, "a") as file:
        file["features/short"] = np.zeros(3)
    with pytest.raises(DataError, match="features/short"):
        read_table(path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.zeros(3)
    assert not is_table(tmp_path / "other.h5")
    with pytest.raises(DataError, match="not a table"):
        read_table(tmp_path / "other.h5")
    with pytest.raises(DataError, match="no events"):
        read_table(write_table(table.select(np.arange(0)), tmp_path / "empty.h5"))
    with pytest.raises(DataError, match="wrong shape"):
        replace(table, values=table.values[:, :1])
    with pytest.raises(DataError, match="same name"):
        replace(table, conditions=(Column(name="width"),))


def test_complete_events_are_finite_and_positive_where_a_logarithm_is_taken(table: FeatureTable) -> None:
    values = table.values.copy()
    values[3, 0], values[5, 1], values[7, 0] = np.nan, 0.0, -1.0
    conditions = table.condition_values.copy()
    conditions[9] = np.inf
    good = replace(table, values=values, condition_values=conditions).complete()
    assert np.flatnonzero(~good).tolist() == [3, 5, 9]


def test_sets_with_other_columns_are_refused(table: FeatureTable) -> None:
    require_same_columns(table, table.select(np.arange(4)))
    with pytest.raises(DataError, match="different numbers of observables"):
        require_same_columns(table, replace(table, features=table.features[:1], values=table.values[:, :1]))
    other = replace(table, features=(Column(name="width", unit="cm"), table.features[1]))
    with pytest.raises(DataError, match=r"width \[mm\]"):
        require_same_columns(table, other)
    with pytest.raises(DataError, match="different numbers of conditions"):
        require_same_columns(table, replace(table, conditions=(), condition_values=np.empty((20, 0))))


def test_grid_of_shares_with_rounding_errors() -> None:
    values = np.random.default_rng(1).integers(5, 300, 4000).astype(np.float32) / np.float32(504)
    grid = find_grid(values.astype(np.float64))
    assert grid.step == pytest.approx(1 / 504, rel=1e-3)
    wide = spread(values[:, None].astype(np.float64), [grid], np.random.default_rng(2).random((4000, 1)))
    assert np.unique(wide).size == 4000
    assert np.abs(wide[:, 0] - values).max() <= grid.step / 2
    np.testing.assert_allclose(rounded(wide, [grid])[:, 0], values, atol=1e-5)


def test_continuous_and_constant_observables_have_no_grid() -> None:
    rng = np.random.default_rng(3)
    assert find_grid(rng.normal(size=1000)) == Grid()
    assert find_grid(np.full(1000, 2.0)) == Grid()
    assert find_grid(np.where(rng.random(1000) < 0.8, 0.0, rng.random(1000))) == Grid()


def test_scaling_standardises_inverts_and_knows_its_volume() -> None:
    torch.manual_seed(0)
    x = torch.stack([3 + 2 * torch.randn(500), torch.exp(1 + 0.5 * torch.randn(500))], dim=1).double()
    scaling = Scaling([False, True]).double()
    scaling.fit(x)
    y, log_det = scaling(x)
    torch.testing.assert_close(y.mean(0), torch.zeros(2).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(y.std(0, unbiased=False), torch.ones(2).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(scaling.inverse(y), x)
    jacobian = torch.autograd.functional.jacobian(lambda v: scaling(v[None])[0][0], x[7])
    torch.testing.assert_close(log_det[7], torch.linalg.slogdet(jacobian).logabsdet)


def test_scaling_counts_samples_alike_and_keeps_constant_columns() -> None:
    scaling = Scaling([False, False]).double()
    scaling.fit(torch.zeros(10, 2).double(), torch.tensor([[2.0, 0.0]]).double().expand(1000, 2), floor=0.0)
    assert scaling.mean.tolist() == [1.0, 0.0]
    assert scaling.std.tolist() == [1.0, 1.0]
