"""Profiles: which tensors a graph takes and gives, and how they are made from conditions, noise and events.

`generic` takes physical conditions and noise apart and gives physical numbers. `par04` speaks to Geant4's example of
that name, see `exporters.par04`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import nn

from exporters.contract import Signature, packed, separate
from exporters.exportable import Condition
from exporters.par04 import MAX_ENERGY_GEV, Par04Encoding
from hepflows.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

ProfileName = Literal["generic", "par04"]


class Guarded(nn.Module):
    """A sampler whose conditions are clamped to their valid range inside the graph.

    A graph cannot raise, and a raw host must never get NaN: whatever it passes, NaN included, the sampler
    sees a condition inside the range.

    Args:
        sampler: cond (N, C), noise (N, Z) to x (N, D).
        conditions: the valid ranges, in the order of the columns.
    """

    low: Tensor
    high: Tensor

    def __init__(self, sampler: nn.Module, conditions: Sequence[Condition]) -> None:
        super().__init__()
        self.sampler = sampler
        self.register_buffer("low", torch.tensor([[condition.low for condition in conditions]]))
        self.register_buffer("high", torch.tensor([[condition.high for condition in conditions]]))

    def clamp(self, cond: Tensor) -> Tensor:
        """Conditions (N, C) inside the valid range."""
        # Comparisons with NaN are false, so that NaN becomes the lower end.
        cond = torch.where(cond > self.low, cond, self.low)
        return torch.where(cond < self.high, cond, self.high)

    def forward(self, cond: Tensor, noise: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Shape (N, C) and (N, Z) to (N, D), and (N, 1) of weighted events."""
        x: Tensor | tuple[Tensor, Tensor] = self.sampler(self.clamp(cond), noise)
        return x


class Par04Sampler(nn.Module):
    """A sampler of showers as Par04 asks for them: columns (N, 4) and noise (N, Z) to fractions (N, V) of the energy.

    Args:
        guarded: cond (N, C), noise (N, Z) to voxels (N, V) in MeV, in the order of the geometry.
        encoding: columns and mesh.
    """

    def __init__(self, guarded: Guarded, encoding: Par04Encoding) -> None:
        super().__init__()
        self.guarded, self.encoding = guarded, encoding

    def forward(self, columns: Tensor, noise: Tensor) -> Tensor:
        """Fractions of the energy, z running fastest."""
        parts = [columns[:, :1] * self.encoding.max_energy_gev]
        if self.encoding.theta_max:
            parts.append(columns[:, 1:2] * self.encoding.theta_max)
        cond = self.guarded.clamp(torch.cat(parts, dim=1))
        voxels: Tensor = self.guarded.sampler(cond, noise)
        n_r, n_phi, n_z = self.encoding.mesh
        cells = voxels.reshape(-1, n_z, n_phi, n_r).permute(0, 3, 2, 1).reshape(-1, n_r * n_phi * n_z)
        return cells / (1000 * cond[:, :1])


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One profile for one generator.

    Attributes:
        name: of the profile.
        columns: valid range of each column of the condition, as the graph takes it.
        wrap: makes the module that becomes the graph from a module of the generator: columns (N, C), noise (N, Z) to
            x (N, D).
        signature: of the graph, from the number of normal numbers Z and of outputs D.
        meaning: what each input is, by name.
        output: ``output`` of the metadata: {name, unit, order}.
        encoding: JSON-able; None where the columns are the physical conditions.
        step: hit threshold in the unit of the output from columns (N, C): (N, 1), or a number, 0 for none.
    """

    name: ProfileName
    columns: tuple[Condition, ...]
    wrap: Callable[[nn.Module], nn.Module]
    signature: Callable[[int, int], Signature]
    meaning: Mapping[str, str]
    output: Mapping[str, Any] | None
    encoding: Mapping[str, object] | None
    step: Callable[[NDArray[np.float32]], NDArray[np.float64] | float]


def make_profile(
    name: str,
    conditions: Sequence[Condition],
    described: Mapping[str, object],
    *,
    threshold_mev: float,
    max_energy_gev: float | None = None,
) -> Profile:
    """The profile of that name for a generator with these conditions and metadata.

    Raises:
        ConfigError: there is none of that name, or the generator cannot have it.
    """
    if name not in get_args(ProfileName):
        raise ConfigError("unknown export profile", expected=" or ".join(get_args(ProfileName)), found=name)
    if name == "par04":
        max_energy_gev = MAX_ENERGY_GEV if max_energy_gev is None else max_energy_gev
        return _par04(conditions, described, threshold_mev, max_energy_gev)
    if max_energy_gev is not None:
        raise ConfigError("a largest energy belongs to the profile par04 only", found=name)
    return _generic(conditions, described, threshold_mev)


def _generic(conditions: Sequence[Condition], described: Mapping[str, object], threshold_mev: float) -> Profile:
    output = described.get("output")
    return Profile(
        name="generic",
        columns=tuple(conditions),
        wrap=lambda sampler: Guarded(sampler, conditions),
        signature=lambda noise, width: separate(len(conditions), noise, width),
        meaning={
            "cond": "conditions in physical units: " + ", ".join(condition.name for condition in conditions),
            "noise": "independent standard normal numbers, drawn by the host",
        },
        output=output if isinstance(output, dict) else None,
        encoding=None,
        step=lambda _: threshold_mev,
    )


def _par04(
    conditions: Sequence[Condition], described: Mapping[str, object], threshold_mev: float, max_energy_gev: float
) -> Profile:
    if "weight" in described:
        raise ConfigError(
            "Par04 knows no weighted events",
            found=described.get("kind"),
            remedy="use the profile generic, or refine by laser-flow or laser-gan instead of dctr",
        )
    encoding = Par04Encoding.of(conditions, described.get("geometry"), max_energy_gev=max_energy_gev)
    unit = "1"
    low, high = (energy / encoding.max_energy_gev for energy in encoding.energy_range_gev)
    theta_low, theta_high = (theta / (encoding.theta_max or 1) for theta in encoding.theta_range)
    ranges = ((low, high), (theta_low, theta_high), (0.0, 1.0), (0.0, 1.0))
    columns = tuple(
        Condition(name=name, unit=unit, low=ends[0], high=ends[1])
        for name, ends in zip(encoding.names, ranges, strict=True)
    )
    sizes = dict(zip(("r", "phi", "z"), encoding.mesh, strict=True))
    return Profile(
        name="par04",
        columns=columns,
        wrap=lambda sampler: Par04Sampler(Guarded(sampler, conditions), encoding),
        signature=lambda noise, width: packed(len(columns), noise, width),
        meaning={
            "input": "independent standard normal numbers, drawn by the host; then " + ", ".join(encoding.names),
        },
        output={
            "name": "cells",
            "unit": "fraction of the incident energy",
            "order": f"cells of one cylindrical mesh {sizes}, z fastest, then phi, then r",
        },
        encoding=encoding.to_dict(),
        step=lambda given: threshold_mev / (1000 * encoding.max_energy_gev * given[:, :1].astype("float64")),
    )
