"""Masses with gradients, and the way between absolute four-momenta and coordinates relative to the jet.

Angles are pseudorapidity and azimuth in rad. The four-momenta are those of the library `vector`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hepflows.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor

    from jetgen.jets import Jets


def relative_constituents(
    pt: ArrayLike, eta: ArrayLike, phi: ArrayLike, *, jet_pt: ArrayLike, jet_eta: ArrayLike, jet_phi: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Constituents relative to the axis of their jet, in double precision.

    Args:
        pt: transverse momenta, any shape.
        eta: pseudorapidities, likewise.
        phi: azimuths in rad, likewise.
        jet_pt: pT of the jet of each constituent, in the unit of `pt`; all shapes broadcast.
        jet_eta: its pseudorapidity, likewise.
        jet_phi: its azimuth in rad, likewise.

    Returns:
        eta_rel, phi_rel in [-pi, pi), and pT_rel.
    """
    import vector

    pt, eta, phi, jet_pt, jet_eta, jet_phi = np.broadcast_arrays(
        *map(_double, (pt, eta, phi, jet_pt, jet_eta, jet_phi))
    )
    axis = vector.array({"pt": jet_pt, "phi": jet_phi, "eta": jet_eta})
    constituents = vector.array({"pt": pt, "phi": phi, "eta": eta})
    phi_rel = np.asarray(constituents.deltaphi(axis))
    return np.asarray(constituents.deltaeta(axis)), phi_rel, np.asarray(constituents.pt / axis.pt)


def four_momenta(
    jets: Jets,
    *,
    jet_pt_gev: ArrayLike | None = None,
    jet_eta: ArrayLike | None = None,
    jet_phi: ArrayLike | None = None,
) -> Any:
    """Absolute four-momenta of the massless constituents.

    Args:
        jets: N jets of P slots.
        jet_pt_gev: pT of the jets, a number or an array of shape (N,), where `jets` does not tell it or another
            one is wanted.
        jet_eta: pseudorapidity of the jets, likewise.
        jet_phi: azimuth in rad, likewise; 0 if nothing tells it, since physics does not depend on it.

    Returns:
        A `vector.MomentumNumpy4D` of shape (N, P) with ``pt``, ``phi`` in [-pi, pi), ``eta`` and ``mass``; a pT of 0
        in empty slots. ``.sum(axis=1)`` gives the four-momenta of the stored parts of the jets.

    Raises:
        DataError: pT or pseudorapidity are unknown, or a shape is wrong.
    """
    import vector

    pt = _axis(jets, "jet_pt_gev", jet_pt_gev)
    eta = _axis(jets, "jet_eta", jet_eta)
    phi = _axis(jets, "jet_phi", 0.0 if jets.jet_phi is None and jet_phi is None else jet_phi)
    turned = jets.phi_rel.astype(np.float64) + phi
    return vector.array(
        {
            "pt": jets.pt_rel.astype(np.float64) * pt,
            "phi": np.where(jets.mask, (turned + np.pi) % (2 * np.pi) - np.pi, 0.0),
            "eta": np.where(jets.mask, jets.eta_rel.astype(np.float64) + eta, 0.0),
            "mass": np.zeros(jets.mask.shape),
        }
    )


def _double(values: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)


def _axis(jets: Jets, name: str, given: ArrayLike | None) -> NDArray[np.float64]:
    """A feature of the jets as given or as they have it, shape (N, 1)."""
    values = getattr(jets, name) if given is None else given
    if values is None:
        raise DataError(
            f"{name} of these jets is unknown",
            where="four_momenta",
            remedy=f"pass {name}=..., a number or one for each jet",
        )
    array = _double(values)
    if array.shape not in ((), (len(jets),)):
        raise DataError("wrong shape", where=name, expected=f"a number or ({len(jets)},)", found=array.shape)
    return np.broadcast_to(array, (len(jets),))[:, None]


def mass_rel(eta: Tensor, phi: Tensor, pt: Tensor) -> Tensor:
    """Invariant mass of each jet's massless constituents, differentiable; see `jetgen.mass_kernel`.

    Args:
        eta: pseudorapidities relative to any axis, shape (..., P).
        phi: azimuths in rad, likewise.
        pt: transverse momenta, not negative, 0 in empty slots; relative ones give the relative mass.

    Returns:
        Shape (...), in the unit of `pt`; a few roundings from exact at any angle. Where the mass is 0 (one
        constituent, collinear ones) the gradient is 0, too.
    """
    squared = mass_squared_rel(eta, phi, pt)
    positive = squared > 0
    return (squared.where(positive, squared.new_ones(())).sqrt() * positive).to(pt.dtype)


def mass_squared_rel(eta: Tensor, phi: Tensor, pt: Tensor) -> Tensor:
    """Square of `mass_rel`, the form to use where its root's infinite slope at 0 would hurt; may be -0 by rounding.

    Memory and time grow with P, not P^2.
    """
    import torch

    with torch.no_grad():  # any centre gives the same mass, and so the same derivatives
        x, y = eta - eta[..., :1], phi - phi[..., :1]
        forward, backward = ((pt * (sign * x).exp()).sum(dim=-1, keepdim=True) for sign in (1, -1))
        along, across = (pt * y.cos()).sum(dim=-1, keepdim=True), (pt * y.sin()).sum(dim=-1, keepdim=True)
        tiny = torch.finfo(pt.dtype).tiny
        eta_0 = eta[..., :1] + 0.5 * (forward.clamp_min(tiny).log() - backward.clamp_min(tiny).log())
        length = (along.square() + across.square()).sqrt()
        # half the angle: an arctangent of two arguments cannot be exported
        phi_0 = phi[..., :1] + 2 * (across / (length + along).clamp_min(tiny)).atan()
    half_x, half_y = 0.5 * (eta - eta_0), 0.5 * (phi - phi_0)
    sinh, sin = half_x.sinh(), half_y.sin()
    c = (pt * 2 * sinh.square()).sum(dim=-1)
    d = (pt * 2 * sin.square()).sum(dim=-1)
    a = (pt * 2 * sinh * half_x.cosh()).sum(dim=-1)
    b = (pt * 2 * sin * half_y.cos()).sum(dim=-1)
    return (c + d) * (2 * pt.sum(dim=-1) + c - d) - a.square() - b.square()
