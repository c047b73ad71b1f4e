"""Masses and multiplicities: the tables against numpy and scipy, windows, fixed multiplicities, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.interpolate import PchipInterpolator

from hepflows.errors import ConditionError, DataError
from jetgen.multiplicity import KNOTS, LEAST_JETS, ConditionTables


@pytest.fixture(scope="module")
def sample():
    """Multiplicities 1 ... 8, few at the low end; masses that grow with them, as jets have."""
    rng = np.random.default_rng(1)
    n = np.minimum(8, 2 + rng.poisson(4, 20000))
    n[:3] = 1
    mass = 0.01 * n * rng.gamma(4.0, 1.0, len(n))
    mass[n == 1] = 0.0
    return mass, n


@pytest.fixture(scope="module")
def tables(sample):
    result = ConditionTables(8).double()
    result.fit(*sample)
    return result


def uniform(n, seed=2):
    return torch.rand(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_distribution_function_is_scipys_interpolation(sample, tables):
    mass, n = sample
    for row in (0, 5, 8):
        chosen = mass[n >= 2] if row == 0 else mass[n == row]
        level = tables.level.numpy()
        expected = PchipInterpolator(np.quantile(chosen, level), level)
        points = np.quantile(chosen, np.linspace(0.0, 1.0, 307))
        found = tables.cumulative(torch.from_numpy(points), torch.full((307,), row))
        np.testing.assert_allclose(found.numpy(), expected(points), atol=2e-5)


def test_quantile_inverts_the_distribution_function(tables):
    level = torch.linspace(0, 1, 1001, dtype=torch.float64)
    for row in range(2, 9):
        rows = torch.full((1001,), row)
        mass = tables.quantile(level, rows)
        assert (mass[1:] >= mass[:-1]).all()
        torch.testing.assert_close(tables.cumulative(mass, rows), level, rtol=0, atol=1e-9)


def test_drawn_conditions_follow_the_sample(sample, tables):
    mass, n = sample
    drawn, drawn_n = (values.numpy() for values in tables.draw(uniform(20000)))
    shares = np.bincount(n, minlength=9) / len(n)
    expected = np.bincount(drawn_n, minlength=9) / len(drawn_n)
    np.testing.assert_allclose(shares, expected, atol=5 * np.sqrt(0.25 / len(n)))
    for row in (4, 6, 8):
        assert stats.ks_2samp(drawn[drawn_n == row], mass[n == row]).pvalue > 1e-3
    assert (drawn[drawn_n == 1] == 0).all()
    assert drawn.max() <= mass.max()


def test_rare_multiplicities_share_masses_with_their_neighbours():
    n = np.repeat([2, 3, 4], [5, 60, 1000])
    mass = np.concatenate([np.linspace(0.010, 0.011, 5), np.linspace(0.02, 0.03, 60), np.linspace(0.05, 0.06, 1000)])
    tables = ConditionTables(5)
    tables.fit(mass, n)
    assert len(n[n <= 3]) < LEAST_JETS
    low, high = tables.mass_bounds(np.array([2, 3, 4, 5]))
    assert high[0] == pytest.approx(1.5 * 0.06, rel=1e-5)  # 5 + 60 jets do not make 100: the next ones are in
    assert low[1] == pytest.approx(0.5 * 0.010, rel=1e-5)
    assert low[2] == pytest.approx(0.5 * 0.05, rel=1e-5)  # enough of its own
    assert low[3] == pytest.approx(0.5 * 0.05, rel=1e-5)  # none of its own: the nearest
    assert tables.mass_bounds(np.array([1])) == (0, 0)
    assert float(tables.share[5]) == 0


def test_mass_window_and_fixed_multiplicity(sample, tables):
    mass, n = sample
    drawn, drawn_n = tables.draw(uniform(20000), mass_window=(0.15, 0.2))
    assert ((drawn >= 0.15 - 1e-9) & (drawn <= 0.2 + 1e-9)).all()
    inside = n[(mass > 0.15) & (mass < 0.2)]
    shares = np.bincount(inside, minlength=9) / len(inside)
    np.testing.assert_allclose(
        np.bincount(drawn_n.numpy(), minlength=9) / 20000, shares, atol=5 * np.sqrt(0.25 / len(inside))
    )
    drawn, drawn_n = tables.draw(uniform(3000), multiplicity=6)
    assert (drawn_n == 6).all()
    assert stats.ks_2samp(drawn.numpy(), mass[n == 6]).pvalue > 1e-3


def test_impossible_selections_are_refused(tables):
    with pytest.raises(ConditionError, match="mass window"):
        tables.draw(uniform(3), mass_window=(5.0, 6.0))
    with pytest.raises(ConditionError, match=r"multiplicity[\s\S]*1 \.\.\. 8"):
        tables.draw(uniform(3), multiplicity=9)


def test_tables_need_masses():
    with pytest.raises(DataError, match="no jets with a mass"):
        ConditionTables(3).fit(np.zeros(10), np.ones(10, dtype=np.int64))


def test_equal_masses_do_not_break_the_inversion():
    tables = ConditionTables(3)
    tables.fit(np.full(500, 0.1), np.full(500, 3))
    mass, n = tables.draw(uniform(100).float())
    assert (n == 3).all()
    assert mass.numpy() == pytest.approx(np.full(100, 0.1), rel=1e-3)


def test_a_host_can_draw_from_the_exported_tables(tables):
    described = tables.to_dict()
    knots, slope = (np.array(described[name])[6] for name in ("mass_knots", "level_slope"))
    level = np.array(described["level"])
    assert len(level) == KNOTS
    wanted = 0.37
    k = int(np.searchsorted(level, wanted)) - 1
    width = knots[k + 1] - knots[k]
    t = np.linspace(0, 1, 100001)
    cubic = (
        level[k] * (1 + 2 * t) * (1 - t) ** 2
        + slope[k] * width * t * (1 - t) ** 2
        + level[k + 1] * t**2 * (3 - 2 * t)
        - slope[k + 1] * width * t**2 * (1 - t)
    )
    expected = knots[k] + width * t[np.searchsorted(cubic, wanted)]
    found = tables.quantile(torch.tensor([wanted], dtype=torch.float64), torch.tensor([6]))
    assert float(found) == pytest.approx(expected, rel=1e-4)
