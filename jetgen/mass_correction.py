"""Move the constituents that make a jet's mass, so that little is left to do for a common scale of all.

A flow that is told a mass misses it by a few per cent, and it is the few constituents that dominate the mass that are
off: the others lie where they should. One common factor of all angles would make the mass right and the others wrong.
So each constituent's angle from the jet's centre grows by its own factor exp(a c), where c is its share of the mass
over the largest share in its jet,

    m^2 / (sum pT)^2 ~ sum w theta^2 - (sum w theta)^2,     c = w theta^2 / max(w theta^2),     w = pT / sum pT,

up to first order the shortest way to the mass in units of each constituent's own angle. The number a is found in a
fixed number of steps with the mass of narrow jets; `jetgen.mass_constraint` removes what is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from jetgen.mass_constraint import log_miss, shape_of

if TYPE_CHECKING:
    from torch import Tensor

    from jetgen.mass_constraint import Shape

_STEPS = 5
_LARGEST = 1.0  # of |a|
_LEAST_SLOPE = 0.05


def correct_mass(eta: Tensor, phi: Tensor, pt: Tensor, mask: Tensor, mass: Tensor) -> tuple[Tensor, Tensor]:
    """Angles eta and phi, each (N, P), of jets of about the wanted mass, their pT-weighted centres where they were.

    Takes what `jetgen.mass_constraint.constrain_mass` takes.
    """
    shape = shape_of(eta, phi, pt, mask)
    factor = _factors(shape, log_miss(shape, mass))
    d_eta, d_phi = (_centred(offset * factor, shape.weight) for offset in (shape.d_eta, shape.d_phi))
    zero = torch.zeros_like(eta)
    return torch.where(mask, shape.centre_eta + d_eta, zero), torch.where(mask, shape.centre_phi + d_phi, zero)


def _factors(shape: Shape, log_ratio: Tensor) -> Tensor:
    """Factor of each constituent's offset from the centre, (N, P), that changes log m by about log_ratio (N, 1)."""
    w, eta, phi = shape.weight, shape.d_eta, shape.d_phi
    share = w * (eta * eta + phi * phi)
    tiny = torch.finfo(w.dtype).tiny * 1e6
    total = _sum(share).clamp_min(tiny)
    part = share / share.amax(1, keepdim=True).clamp_min(tiny)
    # a jet must not reach round the beam: one that is half a turn wide or more does not grow
    largest = shape.phi_limit.log().clamp(0.0, _LARGEST)
    a = torch.zeros_like(total)
    for _ in range(_STEPS):
        factor = (a * part).exp()
        squared = share * factor * factor
        centre_eta, centre_phi = _sum(w * eta * factor), _sum(w * phi * factor)
        mass = (_sum(squared) - centre_eta * centre_eta - centre_phi * centre_phi).clamp_min(tiny)
        slope = (2 * _sum(part * squared) / mass).clamp_min(_LEAST_SLOPE)
        a = a + (2 * log_ratio - (mass / total).log()) / slope
        a = torch.minimum(a.clamp_min(-_LARGEST), largest)
    return (a * part).exp()


def _centred(angle: Tensor, weight: Tensor) -> Tensor:
    return torch.where(weight > 0, angle - _sum(weight * angle), torch.zeros_like(angle))


def _sum(values: Tensor) -> Tensor:
    return values.sum(1, keepdim=True)
