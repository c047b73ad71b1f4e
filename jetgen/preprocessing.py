"""Preprocessing that is part of the model: conditions and constituents to network inputs and back.

Constituents become (angle, angle, log pT) that are close to standard normal given the conditions: angles grow with
the jet's mass and shrink with the rank in pT, and so do their spreads. A flow then learns only what such a table
does not say. The ways back use portable operators, since they are part of exported graphs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from hepflows.draws import normal
from jetgen.portable import sinh, slot_numbers

if TYPE_CHECKING:
    from torch import Tensor

EMPTY_MEAN, EMPTY_WIDTH = -7.0, 0.25
"""Where empty slots lie in the standardised log pT, if the flow itself tells the multiplicity."""

_CUT = -6.2  # between constituents and empty slots
_LEAST = -5.6  # constituents are moved to this value at least
_LEAST_SPREAD = 1e-3
_LEAST_MASS = 1e-4
_MARGIN = 1.05  # angles and pT may exceed those of the training jets by so much


@dataclass(frozen=True)
class Constituents:
    """Constituents of N jets in P slots, all (N, P)."""

    eta: Tensor
    phi: Tensor
    pt: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return len(self.mask)

    def rows(self, index: Tensor) -> Constituents:
        """Those of the jets that an index tensor picks."""
        return Constituents(self.eta[index], self.phi[index], self.pt[index], self.mask[index])


class ConditionInputs(nn.Module):
    """Physical conditions (N, C) to network inputs (N, C): log mass, standardised; multiplicity in [-1, 1].

    Args:
        names: `mass` and `multiplicity`, or the first, or none.
        n_slots: largest multiplicity P.
    """

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, names: tuple[str, ...], n_slots: int) -> None:
        super().__init__()
        self.names, self.n_slots = names, n_slots
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))
        self.register_buffer("low", torch.zeros(len(names)))
        self.register_buffer("high", torch.ones(len(names)))

    @torch.no_grad()
    def fit(self, conditions: Tensor, valid: Tensor) -> None:
        """Learn from conditions (N, C) of jets with a mass; `valid` (2, C) is the range allowed later."""
        self.low.copy_(valid[0])
        self.high.copy_(valid[1])
        if "mass" in self.names:
            logs = conditions[:, 0].double().clamp_min(_LEAST_MASS).log()
            self.mean.copy_(logs.mean())
            self.std.copy_(logs.std(unbiased=False).clamp_min(_LEAST_SPREAD))

    def forward(self, conditions: Tensor) -> Tensor:
        """Shape (N, C) to (N, C)."""
        columns = []
        if "mass" in self.names:
            # a single constituent has mass 0
            logs = conditions[:, :1].clamp_min(_LEAST_MASS).log()
            columns.append(((logs - self.mean) / self.std).clamp(-6.0, 6.0))
        if "multiplicity" in self.names:
            columns.append(conditions[:, 1:2] * (2 / self.n_slots) - 1)
        return torch.cat(columns, dim=1) if columns else conditions[:, :0]

    def clamp(self, conditions: Tensor) -> Tensor:
        """Move conditions (N, C) into the range seen in training."""
        return torch.minimum(torch.maximum(conditions, self.low), self.high)


class ContextTable(nn.Module):
    """A quadratic polynomial of the context for each slot, kept inside the values it has on the training jets.

    Args:
        slots: number of slots; 1 shares one polynomial among all.
        context_features: number of context inputs.
    """

    coefficients: Tensor
    least: Tensor
    most: Tensor

    def __init__(self, slots: int, context_features: int) -> None:
        super().__init__()
        terms = 1 + context_features + context_features * (context_features + 1) // 2
        self.register_buffer("coefficients", torch.zeros(terms, slots))
        self.register_buffer("least", torch.full((slots,), -1e6))
        self.register_buffer("most", torch.full((slots,), 1e6))

    @torch.no_grad()
    def fit(self, target: Tensor, mask: Tensor, context: Tensor) -> None:
        """Least squares of target (N, P) where `mask` (N, P) on context (N, C), one slot after the other."""
        design = _design(context.double())
        slots = self.coefficients.shape[1]
        for slot in range(slots):
            here = mask if slots == 1 else mask[:, slot : slot + 1]
            rows, columns = here.nonzero(as_tuple=True)
            if len(rows) == 0:
                continue
            x, y = design[rows], target[rows, columns + slot].double()
            ridge = 1e-3 * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
            ridge[0, 0] = 0.0
            solution = torch.linalg.solve(x.T @ x + ridge, x.T @ y)
            fitted = x @ solution
            self.coefficients[:, slot] = solution.to(self.coefficients.dtype)
            self.least[slot], self.most[slot] = fitted.min(), fitted.max()

    def shift(self, amount: Tensor) -> None:
        """Add a constant a slot, shape (slots,)."""
        self.coefficients[0] += amount
        self.least += amount
        self.most += amount

    def forward(self, context: Tensor) -> Tensor:
        """Context (N, C) to values (N, slots)."""
        values = _design(context) @ self.coefficients
        return torch.minimum(torch.maximum(values, self.least), self.most)


class ConstituentTransform(nn.Module):
    """Constituents given the context to y (N, P, 3) and back.

    Angles: y = k asinh(angle / w(context)), with one width for eta and phi. pT: y = (log pT - f(context)) / s(context).
    Empty slots hold standard normal noise; if the multiplicity is not a condition, their log pT lies at -7, apart
    from that of any constituent.

    Args:
        n_slots: P.
        context_features: number of context inputs.
        shared: one table for all slots, for models that do not know the order of constituents.
        multiplicity_known: whether the mask follows from the conditions.
        least: constituents that `inverse` gives a jet at least if it does not, 1 or 2.
    """

    angle_factor: Tensor
    largest_angle: Tensor
    pt_range: Tensor

    def __init__(
        self, n_slots: int, context_features: int, *, shared: bool, multiplicity_known: bool, least: int = 1
    ) -> None:
        super().__init__()
        self.n_slots, self.multiplicity_known, self.least = n_slots, multiplicity_known, min(least, n_slots)
        slots = 1 if shared else n_slots
        self.log_width = ContextTable(slots, context_features)
        self.log_pt = ContextTable(slots, context_features)
        self.log_spread = ContextTable(slots, context_features)
        self.register_buffer("angle_factor", torch.ones(slots))
        self.register_buffer("largest_angle", torch.ones(()))
        self.register_buffer("pt_range", torch.tensor([1e-4, 1.0]))

    @torch.no_grad()
    def fit(self, jets: Constituents, context: Tensor) -> None:
        """Learn all tables from the training jets."""
        mask = jets.mask
        angles = torch.cat([jets.eta, jets.phi]).abs()
        both, twice = torch.cat([mask, mask]), torch.cat([context, context])
        logs = angles.clamp_min(1e-6).log()
        self.log_width.fit(logs, both, twice)
        scaled = angles / self.log_width(twice).exp()
        # the polynomial gives the mean logarithm; a width of the usual meaning is 1 / 0.57 of it for a Gaussian
        self.log_width.shift(torch.full_like(self.angle_factor, 0.635))
        scaled = torch.asinh(angles / self.log_width(twice).exp())
        self.angle_factor.copy_(1 / _rms(scaled, both, len(self.angle_factor)))
        log_pt = jets.pt.clamp_min(1e-30).log()
        self.log_pt.fit(log_pt, mask, context)
        residual = log_pt - self.log_pt(context)
        self.log_spread.fit(residual.abs().clamp_min(1e-4).log(), mask, context)
        relative = residual / self.log_spread(context).exp()
        self.log_spread.shift(_rms(relative, mask, len(self.angle_factor)).log())
        self.largest_angle.copy_(torch.where(both, angles, torch.zeros_like(angles)).amax() * _MARGIN)
        self.pt_range[0] = torch.where(mask, jets.pt, torch.ones_like(jets.pt)).amin() / _MARGIN
        self.pt_range[1] = torch.where(mask, jets.pt, torch.zeros_like(jets.pt)).amax() * _MARGIN

    def forward(self, jets: Constituents, context: Tensor) -> tuple[Tensor, Tensor]:
        """Constituents to y (N, P, 3) and log |dy/d(eta, phi, pT)| (N,) of the filled slots.

        Empty slots are drawn anew at each call, from torch's generator.
        """
        width, factor = self.log_width(context).exp(), self.angle_factor
        spread = self.log_spread(context).exp()
        angles = torch.stack([jets.eta, jets.phi], dim=2) / width.unsqueeze(2)
        y_angles = torch.asinh(angles) * factor[:, None]
        log_pt = torch.where(jets.mask, jets.pt, torch.ones_like(jets.pt)).log()
        y_pt = (log_pt - self.log_pt(context)) / spread
        log_det = 2 * (factor.log() - width.log()) - 0.5 * torch.log1p(angles * angles).sum(2)
        log_det = log_det - spread.log() - log_pt
        noise = normal((*jets.mask.shape, 3), dtype=y_pt.dtype, device=y_pt.device)
        if not self.multiplicity_known:
            y_pt = y_pt.clamp_min(_LEAST)
            noise = torch.cat([noise[..., :2], EMPTY_MEAN + EMPTY_WIDTH * noise[..., 2:]], dim=2)
        y = torch.cat([y_angles, y_pt.unsqueeze(2)], dim=2)
        filled = jets.mask.to(y.dtype)
        return torch.where(jets.mask.unsqueeze(2), y, noise), (log_det * filled).sum(1)

    def inverse(self, y: Tensor, context: Tensor, multiplicity: Tensor | None) -> Constituents:
        """Constituents from y (N, P, 3); the mask follows from `multiplicity` (N, 1), or from y if that is None.

        At least one slot is filled, the hardest; or two, if only such jets can have the mass.
        """
        width, spread = self.log_width(context).exp(), self.log_spread(context).exp()
        limit = self.largest_angle
        angles = width.unsqueeze(2) * sinh((y[:, :, :2] / self.angle_factor[:, None]).clamp(-12.0, 12.0))
        angles = torch.minimum(torch.maximum(angles, -limit), limit)
        log_pt = y[:, :, 2] * spread + self.log_pt(context)
        low, high = self.pt_range[0].log(), self.pt_range[1].log()
        pt = torch.minimum(torch.maximum(log_pt, low), high).exp()
        if multiplicity is None:
            value = y[:, :, 2]
            needed = value.amax(1, keepdim=True)
            if self.least > 1:
                needed = torch.where(value >= needed, torch.full_like(value, -1e6), value).amax(1, keepdim=True)
            mask = (value > _CUT) | (value >= needed)
        else:
            slots = slot_numbers(self.n_slots, y)
            mask = (slots < multiplicity - 0.5) | (slots < 0.5)
        zero = torch.zeros_like(pt)
        eta, phi, pt = (torch.where(mask, v, zero) for v in (angles[:, :, 0], angles[:, :, 1], pt))
        return Constituents(eta, phi, pt, mask)


def _rms(values: Tensor, mask: Tensor, slots: int) -> Tensor:
    """Root mean square of (N, P) where `mask`, for each slot or over all of them; shape (slots,)."""
    squares = torch.where(mask, values * values, torch.zeros_like(values)).double()
    count = mask.double()
    total, number = (squares.sum(), count.sum()) if slots == 1 else (squares.sum(0), count.sum(0))
    result = (total / number.clamp_min(1)).sqrt().reshape(slots)
    return torch.where(result > 0, result, torch.ones_like(result)).float()


def _design(context: Tensor) -> Tensor:
    """Terms up to second order, (N, T)."""
    # not from a sum over the context: ONNX Runtime 1.15 gets the shape of an empty sum wrong
    columns = [context.new_ones((context.shape[0], 1))]
    n = context.shape[1]
    columns += [context[:, i : i + 1] for i in range(n)]
    columns += [context[:, i : i + 1] * context[:, j : j + 1] for i in range(n) for j in range(i, n)]
    return torch.cat(columns, dim=1)
