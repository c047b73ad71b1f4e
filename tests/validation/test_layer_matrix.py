from __future__ import annotations

import numpy as np
import pytest

from hepflows.errors import DataError
from validation.layer_matrix import correlation_difference, correlation_matrix, matrix_difference


def draw(n, rho, *, seed, size=3):
    covariance = np.full((size, size), rho) + (1 - rho) * np.eye(size)
    return np.random.default_rng(seed).multivariate_normal(np.arange(size) * 1e3, covariance, n)


def test_matrix_is_numpy_s_and_knows_weights():
    values = draw(500, 0.4, seed=1, size=5)
    np.testing.assert_allclose(correlation_matrix(values), np.corrcoef(values.T), rtol=1e-9, atol=1e-12)
    counts = np.random.default_rng(2).integers(0, 4, 500)
    repeated = np.repeat(values, counts, axis=0)
    np.testing.assert_allclose(correlation_matrix(values, counts), np.corrcoef(repeated.T), rtol=1e-8, atol=1e-10)
    values[:, 2] = 7.0
    matrix = correlation_matrix(values)
    assert np.isnan(matrix[2]).all()
    assert np.isfinite(np.delete(np.delete(matrix, 2, 0), 2, 1)).all()


def test_difference_of_known_matrices():
    first, second = np.eye(3), np.eye(3)
    second[0, 1], second[0, 2], second[1, 2] = 0.3, -0.4, 0.0
    assert matrix_difference(first, second) == pytest.approx(np.sqrt((0.09 + 0.16) / 3))
    second[0, 1] = np.nan  # not defined: does not count
    assert matrix_difference(first, second) == pytest.approx(np.sqrt(0.16 / 2))
    assert np.isnan(matrix_difference(first, np.full((3, 3), np.nan)))


def test_correlated_against_independent_layers():
    value, error = correlation_difference(
        (draw(4000, 0.5, seed=1), None), (draw(4000, 0.0, seed=2), None), replicas=100, seed=0
    )
    assert value == pytest.approx(0.5, abs=5 * error)
    assert 0 < error < 0.02


def test_bootstrap_error_is_the_scatter():
    results = np.array([
        correlation_difference(
            (draw(400, 0.6, seed=k), None), (draw(400, 0.1, seed=1000 + k), None), replicas=60, seed=k
        )
        for k in range(60)
    ])  # fmt: skip
    assert results[:, 1].mean() == pytest.approx(results[:, 0].std(ddof=1), rel=0.3)


def test_bad_layers():
    with pytest.raises(DataError, match="matrix"):
        correlation_difference((draw(50, 0, seed=1), None), (draw(50, 0, seed=2, size=4), None), replicas=5, seed=0)
    assert np.isnan(
        correlation_difference((draw(1, 0, seed=1), None), (draw(9, 0, seed=2), None), replicas=5, seed=0)
    ).all()
