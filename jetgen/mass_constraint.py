"""A jet mass that is exact by construction: one common scale of the angular offsets solves for it.

The mass of massless constituents depends on the differences of their angles alone,

    m^2 = sum_ij pT_i pT_j (cosh(eta_i - eta_j) - cos(phi_i - phi_j)),

and every term grows with a common scale s of the angles as long as s (phi_max - phi_min) <= pi. So a jet is a shape
and a mass, and for each mass in reach there is exactly one s. Beyond s = pi / (phi_max - phi_min) the scale of phi
stays and that of eta alone grows on, which keeps the mass monotone without an upper end. Constituents that do not
differ in eta, as saturated outputs of a network may be, are given different ones first.

Numerics. E^2 - p^2 loses five digits in float32, sums over pairs cost O(P^2). With angles measured from the
pT-weighted centre of the jet, w_i = pT_i / sum pT and

    A = sum w (cosh eta - 1),   U = sum w (exp(eta) - 1),   V = sum w (exp(-eta) - 1),
    C = sum w (1 - cos phi),    T = sum w sin phi,
    m^2 / (sum pT)^2 = 2 A + U V + C (2 - C) - T^2

holds exactly (2 A is U + V, summed without their terms of first order, which cancel) and costs O(P). A, U, V and C
are not negative there (U and V by Jensen's inequality) and T is of third order in the angles: little is lost.

The equation is solved for log s, in which log m is nearly linear: Newton steps, held inside a bracket by bisection,
in a fixed number, so that the layer is part of exported graphs. A last Newton step carries the gradient (implicit
functions).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from hepflows.errors import ConditionError
from jetgen.portable import sinh, slot_numbers

if TYPE_CHECKING:
    from torch import Tensor

STEPS = 18
"""Newton steps; tests/jetgen/test_mass_constraint.py shows that 16 do for 1e-10."""

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
"""Largest |m - m_condition| / m_condition, recomputed in float64 from a result of each type."""

_LARGEST_ANGLE = 40.0  # of eta after scaling: cosh(40)^2 is finite in float32
_LARGEST_OFFSET = 64.0  # of a jet's centre, in its own radii: farther out float32 angles cannot hold the mass
_ROUNDING = 8.0  # units of it that equal angles may differ by after their mean was subtracted
_LEAST_ANGLE = 1e-12  # below which directions are the same
_FAINT = 1e-3  # of the largest offset in phi: what eta is given where it has no differences
_LEAST_SLOPE = 1e-3  # of log m^2 in log s; 2 for a narrow jet, 0 where back-to-back particles cannot gain mass


@dataclass(frozen=True)
class Shape:
    """Angles from the centre of each jet, and what bounds its scale; all derived from a jet alone.

    Attributes:
        weight: pT_i / sum pT, shape (N, P), 0 in empty slots.
        d_eta: eta_i minus the pT-weighted mean, shape (N, P), 0 in empty slots.
        d_phi: likewise.
        centre_eta: the mean, shape (N, 1).
        centre_phi: likewise.
        sum_pt: shape (N, 1).
        phi_limit: scale at which the widest pair is back to back in phi, shape (N, 1).
    """

    weight: Tensor
    d_eta: Tensor
    d_phi: Tensor
    centre_eta: Tensor
    centre_phi: Tensor
    sum_pt: Tensor
    phi_limit: Tensor


def constrain_mass(
    eta: Tensor, phi: Tensor, pt: Tensor, mask: Tensor, mass: Tensor, *, steps: int = STEPS
) -> tuple[Tensor, Tensor, Tensor]:
    """Scale the angles of each jet so that its mass is the given one.

    pT, their order and their sum stay. A centre that lies more than 64 jet radii (m / sum pT), or pi, away from the jet
    axis is brought back to that distance, which no jet of a sample needs: farther out, the rounding of the angles
    alone would spoil the mass.

    Where the mass cannot be reached nothing is raised, since a graph cannot: a jet of one constituent is returned as
    it is, and one that were wider than 40 in eta stops there. `require_reached` tells. Mass 0 makes all constituents
    collinear.

    Args:
        eta: offsets from the jet axis, shape (N, P).
        phi: likewise, radians, not wrapped; the result lies within [-pi, pi].
        pt: shape (N, P), not negative.
        mask: shape (N, P), true for constituents; empty slots may hold anything finite.
        mass: wanted mass in units of pt, shape (N,), not negative.
        steps: Newton steps.

    Returns:
        eta (N, P), phi (N, P), zero in empty slots, and the scale s of shape (N,).
    """
    shape = shape_of(eta, phi, pt, mask)
    target = mass.unsqueeze(1) / shape.sum_pt
    scale, degenerate = _solve(shape, target, steps)
    scale = torch.where(degenerate, torch.ones_like(scale), scale)
    scale = torch.where(target > 0, scale, torch.zeros_like(scale))
    scale_phi = torch.minimum(scale, shape.phi_limit)
    empty = torch.zeros_like(eta)
    limit = (_LARGEST_OFFSET * target).clamp_max(math.pi)
    limit = torch.where(degenerate, torch.full_like(target, torch.inf), limit)
    new_eta = scale * shape.d_eta + _limited(scale * shape.centre_eta, limit)
    d_phi = scale_phi * shape.d_phi
    centre_phi = _limited(scale_phi * shape.centre_phi, limit)
    # a jet far from the axis must not go round it: all of it has room within [-pi, pi], being less than pi wide
    turn = math.pi * (1 - 1e-6)
    centre_phi = torch.maximum(centre_phi, -turn - d_phi.amin(1, keepdim=True))
    new_phi = d_phi + torch.minimum(centre_phi, turn - d_phi.amax(1, keepdim=True))
    return torch.where(mask, new_eta, empty), torch.where(mask, new_phi, empty), scale.squeeze(1)


def log_miss(shape: Shape, mass: Tensor) -> Tensor:
    """Log of wanted mass over mass, shape (N, 1), of jets of the given shape."""
    target = mass.unsqueeze(1) / shape.sum_pt
    return -0.5 * _excess(shape, torch.zeros_like(target), target)[0]


def require_reached(found: Tensor, wanted: Tensor, multiplicity: Tensor, *, first_event: int = 0) -> None:
    """Refuse jets whose mass is not the wanted one.

    Args:
        found: masses of the jets, in float64, shape (N,).
        wanted: conditions, shape (N,).
        multiplicity: constituents, shape (N,).
        first_event: index of the first jet, for the message.

    Raises:
        ConditionError: naming the first jet whose constituents cannot have the mass.
    """
    missed = ~((found - wanted).abs() <= TOLERANCE[torch.float32] * wanted)
    if bool(missed.any()):
        jet = int(missed.int().argmax())
        n = int(multiplicity[jet])
        raise ConditionError(
            "this jet cannot have the mass of its condition",
            where=f"mass_rel[{first_event + jet}]",
            expected="mass 0 of a single constituent" if n < 2 else f"at most {float(found[jet]):.6g} for its shape",
            found=f"{float(wanted[jet]):.6g} with multiplicity {n} ({int(missed.sum())} of {len(found)} jets)",
            remedy="take masses and multiplicities that occur together in the data",
        )


def shape_of(eta: Tensor, phi: Tensor, pt: Tensor, mask: Tensor) -> Shape:
    """Separate a jet's angles (N, P) into its centre and the offsets from it."""
    zero = torch.zeros_like(pt)
    pt = torch.where(mask, pt, zero)
    sum_pt = pt.sum(1, keepdim=True).clamp_min(torch.finfo(pt.dtype).tiny * 1e6)
    weight = pt / sum_pt
    d_eta, centre_eta = _centred(torch.where(mask, eta, zero), weight, mask)
    d_phi, centre_phi = _centred(torch.where(mask, phi, zero), weight, mask)
    d_eta, d_phi = _apart(d_eta, d_phi, centre_eta, centre_phi, weight, mask)
    width = d_phi.amax(1, keepdim=True) - d_phi.amin(1, keepdim=True)
    # an ulp below pi, so that rounding does not carry a pair beyond it
    limit = (math.pi * (1 - 1e-6)) / width.clamp_min(1e-30)
    return Shape(weight, d_eta, d_phi, centre_eta, centre_phi, sum_pt, limit)


def _centred(angle: Tensor, weight: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Offsets from the weighted mean, and the mean; two passes, for jets that are narrow and far out."""
    zero = torch.zeros_like(angle)
    first = (weight * angle).sum(1, keepdim=True)
    offset = torch.where(mask, angle - first, zero)
    second = (weight * offset).sum(1, keepdim=True)
    return torch.where(mask, offset - second, zero), first + second


def _apart(
    d_eta: Tensor, d_phi: Tensor, centre_eta: Tensor, centre_phi: Tensor, weight: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Offsets in which no jet of two or more constituents is without differences of eta."""
    slots = slot_numbers(int(d_eta.shape[1]), d_eta).expand_as(d_eta)
    pattern, _ = _centred(1 / (1 + slots), weight, mask)
    d_phi = torch.where(_equal(d_phi, centre_phi), torch.zeros_like(d_phi), d_phi)
    width = d_phi.abs().amax(1, keepdim=True)
    # one part in a million of the squared mass, so that phi alone still decides it where it can
    size = torch.where(width > 0, _FAINT * width, torch.ones_like(width))
    return torch.where(_equal(d_eta, centre_eta), size * pattern, d_eta), d_phi


def _equal(offset: Tensor, centre: Tensor) -> Tensor:
    """Whether the offsets (N, P) of a jet are nothing but rounding of its centre (N, 1), shape (N, 1)."""
    rounding = _ROUNDING * torch.finfo(offset.dtype).eps * centre.abs()
    return offset.abs().amax(1, keepdim=True) <= rounding.clamp_min(_LEAST_ANGLE)


def _limited(centre: Tensor, limit: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(centre, -limit), limit)


def _solve(shape: Shape, target: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """The scale s (N, 1) with mass `target` (N, 1) in units of sum pT, and which jets have no angles to scale."""
    lower, upper, start, degenerate, wide = _bracket(shape, target)
    with torch.no_grad():
        log_s, fixed, low, high = start, _detached(shape), lower, upper
        goal = target.detach()
        in_phi = _mass_parts(fixed, fixed.phi_limit)[1]
        for _ in range(steps):
            excess, slope = _excess(fixed, log_s, goal, wide=wide, in_phi=in_phi)
            short = excess < 0
            low = torch.where(short, log_s, low)
            high = torch.where(short, high, log_s)
            newton = log_s - excess / slope
            # the ends count as inside: near the solution rounding puts it there
            inside = (newton >= low) & (newton <= high)
            log_s = torch.where(inside, newton, 0.5 * (low + high))
    excess, slope = _excess(shape, log_s, target, wide=wide, in_phi=_mass_parts(shape, shape.phi_limit)[1])
    last = log_s - excess / slope.detach()
    return torch.minimum(torch.maximum(last, lower), upper).exp(), degenerate


@torch.no_grad()
def _bracket(shape: Shape, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Lower end, upper end and first guess of log s, each (N, 1), which jets are points, and which are wide.

    Wide is a jet whose phi reaches its limit; what its mass lacks there is for eta alone.

    With q the sum over pairs of w w (d_eta^2 + d_phi^2) / 2 and q_eta its part from eta: 1 - cos x >= 2 x^2 / pi^2 up
    to pi and cosh x - 1 >= x^2 / 2 give the upper end, 1 - cos x <= x^2 / 2 and, for x <= X,
    cosh x - 1 <= (x / X)^2 (cosh X - 1) the lower one. (The double sum is a single one, since the
    weighted offsets from the centre add up to zero.)
    """
    tiny = torch.finfo(target.dtype).tiny * 1e6
    goal = target.clamp_min(1e-15)
    q_eta = (shape.weight * shape.d_eta * shape.d_eta).sum(1, keepdim=True)
    q_phi = (shape.weight * shape.d_phi * shape.d_phi).sum(1, keepdim=True)
    q = q_eta + q_phi
    degenerate = q <= tiny
    narrow = goal / q.clamp_min(tiny).sqrt()
    in_eta_alone = torch.maximum(shape.phi_limit, goal / q_eta.clamp_min(tiny).sqrt())
    in_eta_alone = torch.where(q_eta > tiny, in_eta_alone, shape.phi_limit)
    upper = torch.where(0.5 * math.pi * narrow <= shape.phi_limit, 0.5 * math.pi * narrow, in_eta_alone)
    widest = shape.d_eta.abs().amax(1, keepdim=True).clamp_min(1e-30)
    upper = torch.minimum(upper, _LARGEST_ANGLE / widest).clamp_max(1e30)
    half_width = 0.5 * upper * (shape.d_eta.amax(1, keepdim=True) - shape.d_eta.amin(1, keepdim=True))
    half_width = half_width.clamp(1e-3, _LARGEST_ANGLE)
    growth = (sinh(half_width) / half_width).log()
    # a little wider than the proof, for rounding
    high = upper.log() + 1e-5
    low = torch.minimum(narrow.log() - growth - 1e-5, high - 1e-4)
    at_limit, in_phi, *_ = _mass_parts(shape, shape.phi_limit)
    wide = goal * goal > at_limit + in_phi
    low = torch.where(wide, torch.minimum(torch.maximum(low, shape.phi_limit.log()), high - 1e-4), low)
    # cosh x - 1 >= x^2 / 2 once more
    in_eta = 0.5 * (_rest(goal, in_phi) / q_eta.clamp_min(tiny)).log()
    start = torch.minimum(torch.maximum(torch.where(wide, in_eta, narrow.log()), low), high)
    return low, high, start, degenerate, wide


def _rest(target: Tensor, in_phi: Tensor) -> Tensor:
    """Square of the mass that is left for eta (N, 1)."""
    return (target * target - in_phi).clamp_min(1e-36)


def _excess(
    shape: Shape, log_s: Tensor, target: Tensor, *, wide: Tensor | None = None, in_phi: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Log of (mass / target)^2 at the scale exp(log_s), or of what is eta's of both, and its derivative in log_s.

    Just above its limit in phi a jet's mass hardly grows with s, eta's part of it as the square: Newton steps on the
    logarithm of that part are short.

    Args:
        shape: of the jets.
        log_s: shape (N, 1).
        target: wanted masses (N, 1).
        wide: for which jets eta's parts are compared, (N, 1); None for none.
        in_phi: squared mass of phi at its limit (N, 1).
    """
    of_eta, of_phi, eta_slope, phi_slope = _mass_parts(shape, log_s.exp())
    squared, goal = (of_eta + of_phi).clamp_min(1e-36), 2 * target.clamp_min(1e-15).log()
    excess, slope = squared.log() - goal, (eta_slope + phi_slope) / squared
    if wide is not None and in_phi is not None:
        of_eta = of_eta.clamp_min(1e-36)
        excess = torch.where(wide, of_eta.log() - _rest(target, in_phi).log(), excess)
        slope = torch.where(wide, eta_slope / of_eta, slope)
    return excess, slope.clamp_min(_LEAST_SLOPE)


def _mass_parts(shape: Shape, scale: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Squared mass over (sum pT)^2, eta's part and phi's, and their derivatives in log s, each (N, 1).

    Phi does not move beyond its limit.
    """
    scale_phi = torch.minimum(scale, shape.phi_limit)
    eta, phi, w = scale * shape.d_eta, scale_phi * shape.d_phi, shape.weight
    half, rise, fall = sinh(0.5 * eta), (0.5 * eta).exp(), (-0.5 * eta).exp()
    a, u, v = _sum(2 * w * half * half), _sum(2 * w * half * rise), -_sum(2 * w * half * fall)
    sine, sin = (0.5 * phi).sin(), phi.sin()
    c, t = _sum(2 * w * sine * sine), _sum(w * sin)
    weighted = w * eta
    a_slope = _sum(weighted * half * (rise + fall))
    u_slope, v_slope = _sum(weighted * rise * rise), -_sum(weighted * fall * fall)
    c_slope, t_slope = _sum(w * phi * sin), _sum(w * phi * (1 - 2 * sine * sine))
    moves = (scale <= shape.phi_limit).to(w.dtype)
    eta_slope = 2 * a_slope + u_slope * v + u * v_slope
    phi_slope = moves * 2 * (c_slope * (1 - c) - t * t_slope)
    return 2 * a + u * v, c * (2 - c) - t * t, eta_slope, phi_slope


def _sum(values: Tensor) -> Tensor:
    return values.sum(1, keepdim=True)


def _detached(shape: Shape) -> Shape:
    return Shape(**{name: value.detach() for name, value in vars(shape).items()})
