"""Density of jets whose mass is exact: a quadrature over the scale that the constraint takes away.

The flow of `exact` has a density q of jets of any scale of their angles. The constraint moves a jet along its ray,
theta -> theta / s, onto the surface m(theta, pT) = m_condition. With theta = s t, t on the surface, the volume of the
2n angles is

    d theta = s^(2n - 1) |t . nu| ds dA(t),

where A is the area of the surface at fixed pT and nu its unit normal. So the density of generated jets, for dA times
d pT_1 ... d pT_n, is

    p(t, pT | m, n) = |t . nu| int q(s t, pT | m, n) s^(2n - 1) ds.

Where the sum of pT is drawn first and made exact as well, q has jets of any scale of their pT, too, and with l the
scale of pT and S the sum

    p(t, pT | m, n) = |t . nu| p(S | m, n) S int int q(s t, l pT | m, n, S) s^(2n - 1) l^(n - 1) ds dl.

q is close to a log-normal in each scale, which training has put there (`scale_jitter`): trapezoidal sums over the
logarithms converge exponentially.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from hepflows.errors import ConfigError
from jetgen.kinematics import mass_rel
from jetgen.preprocessing import Constituents

if TYPE_CHECKING:
    from torch import Tensor

    from jetgen.jetflow import JetFlowModel

NODES = 25
REACH = 7.0
"""Each sum goes over logarithms from -7 to 7 jitters: a flow may be wider than the jitter it has learned."""


def shape_log_prob(
    model: JetFlowModel, jets: Constituents, conditions: Tensor, *, nodes: int = NODES, reach: float = REACH
) -> Tensor:
    """Log density of jets of the mass of their condition, on the surface of that mass, shape (N,).

    It evaluates the flow `nodes` times, or `nodes` squared times where the sum of pT is exact as well.

    Args:
        model: of a generator with the exact constraint and a coupling network.
        jets: ordered by pT, each with the mass of its condition.
        conditions: physical conditions, shape (N, C).
        nodes: nodes of each sum.
        reach: half its range, in units of the jitter.

    Raises:
        ConfigError: the model has no exact constraint, its training no jitter of the scale, or it is a continuous flow.
    """
    if model.constraint != "exact" or not model.scale_jitter:
        raise ConfigError(
            "only jets of an exact mass whose scale was jittered in training have this density",
            where="scale_jitter",
            expected="mass_constraint = 'exact' and scale_jitter above 0",
            found=f"mass_constraint = {model.constraint!r}, scale_jitter = {model.scale_jitter:g}",
            remedy="take log_prob, or train with scale_jitter = 0.1",
        )
    n = jets.mask.sum(1).to(jets.pt.dtype)
    total = jets.pt.sum(1, keepdim=True)
    step = 2 * reach * model.scale_jitter / (nodes - 1)
    logs = [step * (node - (nodes - 1) / 2) for node in range(nodes)]
    terms = []
    for log_l in logs if model.pt_sum is not None else [0.0]:
        for log_s in logs:
            factor = math.exp(log_s)
            scaled = Constituents(jets.eta * factor, jets.phi * factor, jets.pt * math.exp(log_l), jets.mask)
            # ds s^(2n - 1) = d(log s) s^2n
            terms.append(model.log_prob(scaled, conditions, pt_sum=total) + 2 * n * log_s + n * log_l)
    result: Tensor = torch.logsumexp(torch.stack(terms), dim=0) + math.log(step) + _log_radial_share(jets)
    if model.pt_sum is None:
        return result
    sums: Tensor = model.pt_sum.log_prob(total, model.conditions(conditions))
    return result + math.log(step) + total.squeeze(1).log() + sums


def _log_radial_share(jets: Constituents) -> Tensor:
    """Log |t . nu|, shape (N,): how far the surface is from the origin along its normal."""
    with torch.enable_grad():
        eta, phi = jets.eta.detach().double().requires_grad_(), jets.phi.detach().double().requires_grad_()
        mass = mass_rel(eta, phi, torch.where(jets.mask, jets.pt, torch.zeros_like(jets.pt)).detach().double())
        d_eta, d_phi = torch.autograd.grad(mass.sum(), (eta, phi))
    radial = (d_eta * eta + d_phi * phi).sum(1).abs()
    norm = (d_eta * d_eta + d_phi * d_phi).sum(1).sqrt()
    return (radial / norm).log().to(jets.pt.dtype).detach()
