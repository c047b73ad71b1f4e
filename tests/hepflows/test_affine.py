"""Affine coupling: inverse, log-determinant, and what it leaves alone."""

from __future__ import annotations

import pytest
import torch

from hepflows.affine import AffineCoupling
from hepflows.errors import ConfigError


@pytest.fixture
def coupling():
    torch.manual_seed(0)
    block = AffineCoupling(5, 2, width=16).double()
    for parameter in block.parameters():  # far from the identity that it starts as
        torch.nn.init.normal_(parameter, std=0.5)
    return block


def test_inverse_undoes_forward(coupling):
    x, context = torch.randn(40, 5, dtype=torch.float64), torch.randn(40, 2, dtype=torch.float64)
    z, log_det = coupling(x, context)
    back, inverse_log_det = coupling.inverse(z, context)
    assert (z[:, 2:] - x[:, 2:]).abs().min() > 1e-6
    torch.testing.assert_close(back, x, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(inverse_log_det, -log_det, rtol=1e-12, atol=1e-12)


def test_log_determinant_is_that_of_the_jacobian(coupling):
    x, context = torch.randn(6, 5, dtype=torch.float64), torch.randn(6, 2, dtype=torch.float64)
    _, log_det = coupling(x, context)
    for row in range(len(x)):
        jacobian = torch.autograd.functional.jacobian(
            lambda v, row=row: coupling(v[None], context[row : row + 1])[0][0], x[row]
        )
        assert float(log_det[row].detach()) == pytest.approx(float(torch.linalg.slogdet(jacobian)[1]), abs=1e-10)


def test_kept_half_passes_and_context_matters(coupling):
    x = torch.randn(3, 5, dtype=torch.float64)
    one, _ = coupling(x, torch.zeros(3, 2, dtype=torch.float64))
    two, _ = coupling(x, torch.ones(3, 2, dtype=torch.float64))
    torch.testing.assert_close(one[:, :2], x[:, :2], rtol=0, atol=0)
    assert (one[:, 2:] != two[:, 2:]).all()


def test_scale_is_bounded(coupling):
    with torch.no_grad():
        for parameter in coupling.parameters():
            parameter.mul_(100)
    _, log_det = coupling(torch.randn(50, 5, dtype=torch.float64), torch.randn(50, 2, dtype=torch.float64))
    assert float(log_det.detach().abs().max()) <= 3 * coupling.bound + 1e-9


def test_every_parameter_gets_a_gradient(coupling):
    z, log_det = coupling(torch.randn(20, 5, dtype=torch.float64), torch.randn(20, 2, dtype=torch.float64))
    (z.square().sum() - log_det.sum()).backward()
    assert all(parameter.grad is not None and (parameter.grad != 0).any() for parameter in coupling.parameters())


def test_one_feature_is_refused():
    with pytest.raises(ConfigError, match="at least two"):
        AffineCoupling(1, 0, width=4)
