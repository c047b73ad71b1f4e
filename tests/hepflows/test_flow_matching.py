"""Flow matching: the objective finds the velocity, Heun's method follows it, the average smooths the weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from hepflows.flow_matching import ContinuousFlow


class GaussianVelocity(nn.Module):
    """Exact field of straight paths from N(0, 1) to N(mean, sigma^2) in each dimension."""

    def __init__(self, mean, sigma):
        super().__init__()
        self.mean, self.sigma = mean, sigma

    def forward(self, x, time, context):
        variance = (1 - time) ** 2 + (self.sigma * time) ** 2
        slope = (self.sigma**2 * time - (1 - time)) / variance
        return self.mean + slope * (x - self.mean * time)


class Linear(nn.Module):
    """Velocity linear in (x, t, context), which is enough for a shift."""

    def __init__(self, features, context_features):
        super().__init__()
        self.map = nn.Linear(features + 1 + context_features, features)

    def forward(self, x, time, context):
        return self.map(torch.cat([x, time, context], dim=1))


def test_heun_converges_at_second_order_to_the_exact_map():
    noise = torch.randn(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    exact = 1.5 + 0.3 * noise
    errors = []
    for steps in (8, 16, 32):
        flow = ContinuousFlow(GaussianVelocity(1.5, 0.3), steps=steps).eval()
        errors.append(float((flow.sample(noise, noise[:, :1]) - exact).abs().max()))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.25)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.25)


def test_a_constant_velocity_is_exact_in_one_step():
    class Shift(nn.Module):
        def forward(self, x, time, context):
            return context

    context = torch.randn(10, 2)
    noise = torch.randn(10, 2)
    torch.testing.assert_close(ContinuousFlow(Shift(), steps=1).sample(noise, context), noise + context)


def test_the_exact_field_has_the_least_loss():
    torch.manual_seed(2)
    data = 1.5 + 0.3 * torch.randn(20000, 2)
    losses = []
    for mean, sigma in ((1.5, 0.3), (1.5, 0.5), (1.4, 0.3)):
        torch.manual_seed(3)
        losses.append(float(ContinuousFlow(GaussianVelocity(mean, sigma), steps=1).eval().loss(data, data[:, :0])))
    assert losses[0] < min(losses[1:])


def test_weight_leaves_features_out():
    torch.manual_seed(4)
    flow = ContinuousFlow(GaussianVelocity(0.0, 1.0), steps=1)
    data, weight = torch.randn(100, 2), torch.tensor([[1.0, 0.0]]).repeat(100, 1)
    spoilt = data.clone()
    spoilt[:, 1] = 1e3
    torch.manual_seed(5)
    first = flow.loss(data, data[:, :0], weight)
    torch.manual_seed(5)
    torch.testing.assert_close(flow.loss(spoilt, data[:, :0], weight), first)


def test_training_learns_a_conditional_shift():
    torch.manual_seed(6)
    flow = ContinuousFlow(Linear(2, 1), steps=4, average=0.9)
    optimizer = torch.optim.Adam(flow.velocity.parameters(), lr=0.02)
    for _ in range(400):
        context = torch.randn(256, 1)
        loss = flow.loss(torch.cat([context, -context], dim=1) + torch.randn(256, 2), context)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        flow.update_average()
    flow.eval()
    context = torch.full((4000, 1), 2.0)
    mean = flow.sample(torch.randn(4000, 2), context).mean(0).detach()
    assert mean.tolist() == pytest.approx([2.0, -2.0], abs=0.25)


def test_average_follows_and_replaces_the_weights():
    flow = ContinuousFlow(Linear(1, 0), steps=1, average=0.5)
    before = flow.averaged.map.bias.clone()
    with torch.no_grad():
        flow.velocity.map.bias += 1.0
    flow.update_average()
    after = flow.averaged.map.bias.clone()
    assert ((after > before) & (after < flow.velocity.map.bias)).all()
    x = torch.randn(5, 1)
    flow.eval()
    sample = flow.sample(x, x[:, :0])
    flow.keep_average()
    torch.testing.assert_close(flow.sample(x, x[:, :0]), sample, rtol=0, atol=0)
    assert flow.averaged is None
    assert not any(name.startswith("averaged") for name in flow.state_dict())


def test_times_of_a_batch_are_spread_over_the_unit_interval():
    seen = []

    class Spy(nn.Module):
        def forward(self, x, time, context):
            seen.append(time.flatten())
            return x

    torch.manual_seed(7)
    ContinuousFlow(Spy(), steps=1).loss(torch.randn(50, 1), torch.zeros(50, 0))
    counts = torch.histc(seen[0], bins=50, min=0, max=1)
    assert (counts == 1).all()
    assert not math.isclose(float(seen[0][0]), float(seen[0].sort().values[0]))
