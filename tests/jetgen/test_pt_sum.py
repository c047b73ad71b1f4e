"""The sum of pT: a density that integrates to one and is sampled, within the data's range, exact in the jets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from jetgen.dataset import make_tensors
from jetgen.jetflow import JetFlowModel
from jetgen.pt_sum import PtSum
from jetgen.training import JetFlow

SLOTS = 6


@pytest.fixture
def sums():
    """Full jets below one, others at one but for a per mille; and a context of mass and multiplicity."""
    rng = torch.Generator().manual_seed(1)
    n = torch.randint(2, SLOTS + 1, (4000, 1), generator=rng).double()
    full = n == SLOTS
    uniform = torch.rand(4000, 1, dtype=torch.float64, generator=rng)
    pt_sum = torch.where(full, 0.6 + 0.4 * uniform.sqrt(), 1 + 1e-3 * uniform**2)
    context = torch.cat([torch.randn(4000, 1, dtype=torch.float64, generator=rng), 2 * n / SLOTS - 1], dim=1)
    return pt_sum, context


@pytest.fixture
def model(sums):
    torch.manual_seed(2)
    model = PtSum(2, SLOTS).double()
    model.fit(sums[0].squeeze(1), sums[1])
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("multiplicity", [3, SLOTS])
def test_density_is_normalised(model, multiplicity):
    width = float(model.scale[int(multiplicity == SLOTS)])
    centre = float(model.centre[int(multiplicity == SLOTS)])
    # in y = asinh((sum - centre) / scale), where the tails of the normal base end
    y = torch.linspace(-12, 12, 200_001, dtype=torch.float64)[:, None]
    points = centre + width * torch.sinh(y)
    context = torch.tensor([[0.3, 2 * multiplicity / SLOTS - 1]], dtype=torch.float64).expand(len(y), 2)
    with torch.no_grad():
        density = model.log_prob(points, context).exp() * width * torch.cosh(y.squeeze(1))
    assert float(torch.trapezoid(density, y.squeeze(1))) == pytest.approx(1, abs=1e-5)


def test_samples_follow_the_density_and_stay_in_range(model, sums):
    context = sums[1][:1].expand(20_000, 2)
    noise = torch.randn(20_000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    row = int(context[0, 1] == 1)
    model.low[row], model.high[row] = -1e9, 1e9
    with torch.no_grad():
        drawn = model.sample(noise, context)
        y = torch.linspace(-8, 8, 100_001, dtype=torch.float64)
        points = model.centre[row] + model.scale[row] * torch.sinh(y)
        density = model.log_prob(points[:, None], context[:1].expand(len(y), 2)).exp()
        cumulative = torch.cumulative_trapezoid(density * model.scale[row] * torch.cosh(y), y)
    uniform = np.interp(drawn.squeeze(1).numpy(), points[1:].numpy(), cumulative.numpy())
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    model.fit(sums[0].squeeze(1), sums[1])
    with torch.no_grad():
        drawn = model.sample(5 * noise[: len(sums[1])], sums[1])
    full = sums[1][:, 1] == 1
    for chosen in (full, ~full):
        assert drawn[chosen].min() >= sums[0][chosen].min()
        assert drawn[chosen].max() <= sums[0][chosen].max()


def test_likelihood_training_finds_the_sums(sums):
    pt_sum, context = sums
    torch.manual_seed(4)
    model = PtSum(2, SLOTS).double()
    model.fit(pt_sum.squeeze(1), context)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(400):
        loss = -model.log_prob(pt_sum, context).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        drawn = model.sample(torch.randn(len(context), 1, dtype=torch.float64), context)
    full = context[:, 1] == 1
    for chosen, scale in ((full, 1.0), (~full, 1e3)):
        both = [scale * (values[chosen] - 1).squeeze(1).numpy() for values in (pt_sum, drawn)]
        assert stats.wasserstein_distance(*both) < 0.03


def test_generated_jets_have_the_drawn_sum(make_jets):
    jets = make_jets(600, n_slots=SLOTS, seed=3, min_constituents=2)
    config = JetFlow("exact", pt_sum="exact", coupling={"blocks": 2, "width": 16, "depth": 1}).config
    data = make_tensors(jets, config, "cpu")
    torch.manual_seed(5)
    model = JetFlowModel(SLOTS, config)
    model.fit_preprocessing(data.constituents, data.mass, data.valid)
    model = model.double().eval()
    conditions, noise = data.conditions.double(), torch.randn(len(jets), model.noise_dim, dtype=torch.float64)
    with torch.no_grad():
        sample = model.sample(noise, conditions)
        expected = model.pt_sum.sample(noise[:, :1], model.conditions(conditions))
    np.testing.assert_allclose(sample.pt.sum(1, keepdim=True).numpy(), expected.numpy(), rtol=1e-12)
    assert noise.shape[1] == 3 * SLOTS + 1


def test_training_jitters_the_scale_of_pt_and_not_its_sum(make_jets):
    jets = make_jets(300, n_slots=SLOTS, seed=3, min_constituents=SLOTS)
    config = JetFlow("exact", pt_sum="exact", scale_jitter=0.5, data={"mirrors": []}).config
    data = make_tensors(jets, config, "cpu")
    model = JetFlowModel(SLOTS, config)
    model.fit_preprocessing(data.constituents, data.mass, data.valid)
    torch.manual_seed(6)
    (one, first), (two, second) = (model.prepare(data.constituents, data.conditions, augment=True) for _ in range(2))
    torch.testing.assert_close(first, second)
    difference = (one - two).reshape(-1, SLOTS, 3)[:, :, 2] * model.constituents.log_spread(first).exp()
    torch.testing.assert_close(difference, difference[:, :1].expand_as(difference), rtol=1e-3, atol=1e-4)
    assert difference[:, 0].std() == pytest.approx(0.5 * np.sqrt(2), rel=0.2)
