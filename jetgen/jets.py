"""The frozen container of jets, the currency of this package."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hepflows.errors import DataError
from jetgen.jet_checks import (
    check_constituents,
    check_counts,
    check_not_empty,
    check_scalars,
    check_stored,
    per_jet,
    per_slot,
    slot_mask,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Selection = slice | NDArray[np.bool_] | NDArray[np.integer] | Sequence[int]

_PER_SLOT: Final = ("eta_rel", "phi_rel", "pt_rel", "mask")
_PER_JET: Final = (
    "jet_pt_gev",
    "jet_eta",
    "jet_phi",
    "jet_mass_gev",
    "n_constituents_all",
    "weights",
    "mass_condition",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Jets:
    """N jets of up to P massless constituents, relative to the jet axis (the JetNet convention, arXiv 2106.11535).

    Constituents usually stand in falling order of pT; `ordered` puts them so, nothing here requires it.

    Attributes:
        eta_rel: pseudorapidity minus the jet's, shape (N, P), float32; exactly 0 in empty slots.
        phi_rel: azimuth minus the jet's in rad, within [-pi, pi], likewise.
        pt_rel: pT over the pT of the *whole* jet, not negative, likewise.
        mask: whether a slot holds a constituent, shape (N, P), bool; at least one in each jet.
        jet_pt_gev: pT of the whole jet, shape (N,), float32, positive, or None if unknown.
        jet_eta: its pseudorapidity, or None.
        jet_phi: its azimuth in rad, or None.
        jet_mass_gev: mass of the whole jet, or None. It is not the mass of the stored constituents: see `mass_rel`.
        n_constituents_all: number of constituents of the whole jet, stored ones and softer ones, shape (N,), int64,
            or None if unknown. Above `multiplicity` only where all slots are full.
        weights: weight of each jet, shape (N,), float32, or None if all are 1.
        mass_condition: `mass_rel` that a generator was asked for, shape (N,), float32, or None: no generated jets, or
            a generator without this condition.
        kind: what the jets come from, "g", "q" and "t" for gluons, light quarks and tops, or any label; None if
            unknown or mixed.
        provenance: where the jets come from, free texts.

    Raises:
        DataError: wrong shape, values that are not finite or impossible, a jet without constituents, numbers of
            constituents that contradict the mask; the message names jet and slot.
        UnitsError: angles that are no radians.
    """

    eta_rel: NDArray[np.float32]
    phi_rel: NDArray[np.float32]
    pt_rel: NDArray[np.float32]
    mask: NDArray[np.bool_]
    jet_pt_gev: NDArray[np.float32] | None = None
    jet_eta: NDArray[np.float32] | None = None
    jet_phi: NDArray[np.float32] | None = None
    jet_mass_gev: NDArray[np.float32] | None = None
    n_constituents_all: NDArray[np.int64] | None = None
    weights: NDArray[np.float32] | None = None
    mass_condition: NDArray[np.float32] | None = None
    kind: str | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        mask = slot_mask(self.mask)
        check_not_empty(mask)
        constituents: dict[str, Any] = {name: per_slot(getattr(self, name), mask, name) for name in _PER_SLOT[:3]}
        check_constituents(**constituents)
        scalars: dict[str, Any] = {
            name: per_jet(getattr(self, name), len(mask), name, integer=name == "n_constituents_all")
            for name in self.known_features
        }
        check_scalars(scalars)
        if "n_constituents_all" in scalars:
            check_counts(scalars["n_constituents_all"], mask)
        for name, values in {"mask": mask, **constituents, **scalars}.items():
            object.__setattr__(self, name, values)
        object.__setattr__(self, "provenance", dict(self.provenance))

    def __len__(self) -> int:
        return len(self.mask)

    @property
    def n_slots(self) -> int:
        """P, the largest number of constituents that a jet can have here."""
        return int(self.mask.shape[1])

    @cached_property
    def multiplicity(self) -> NDArray[np.int64]:
        """Number of stored constituents, shape (N,)."""
        return np.asarray(self.mask.sum(axis=1, dtype=np.int64))

    @cached_property
    def mass_rel(self) -> NDArray[np.float64]:
        """Mass of the stored massless constituents with pT_rel as pT, dimensionless, shape (N,).

        It is what the generators are conditioned on; never `jet_mass_gev` over `jet_pt_gev`, which counts the
        constituents beyond the stored ones and their masses.
        """
        from jetgen.mass_kernel import jet_masses

        return jet_masses(self.eta_rel, self.phi_rel, self.pt_rel)

    @property
    def conditions(self) -> dict[str, NDArray[np.float64]]:
        """What a generator may be conditioned on: ``mass`` (`mass_rel`) and ``multiplicity``, shape (N,) each."""
        return {"mass": self.mass_rel, "multiplicity": self.multiplicity.astype(np.float64)}

    @property
    def particles(self) -> NDArray[np.float32]:
        """(eta_rel, phi_rel, pT_rel) of all slots, shape (N, P, 3)."""
        return np.stack([self.eta_rel, self.phi_rel, self.pt_rel], axis=2)

    @property
    def is_ordered(self) -> bool:
        """Whether all constituents stand in falling order of pT, empty slots last."""
        filled_after_empty = self.mask[:, 1:] & ~self.mask[:, :-1]
        return not (filled_after_empty.any() or (self.pt_rel[:, 1:] > self.pt_rel[:, :-1]).any())

    def ordered(self) -> Jets:
        """The same jets with constituents in falling order of pT (equal ones keep their order), empty slots last."""
        if self.is_ordered:
            return self
        order = np.argsort(np.where(self.mask, -self.pt_rel, np.float32(np.inf)), axis=1, kind="stable")
        taken: dict[str, Any] = {name: np.take_along_axis(getattr(self, name), order, axis=1) for name in _PER_SLOT}
        return replace(self, **taken)

    def hardest(self, n_slots: int) -> Jets:
        """The same jets with at most `n_slots` constituents, the hardest ones, in falling order of pT.

        `n_constituents_all` keeps counting the whole jet; where it was unknown it stays so. More slots than there
        are add empty ones; fewer make `mass_condition` unknown, since it was asked for all constituents.

        Raises:
            DataError: `n_slots` is below 1, or more slots are wanted than are known to be filled: a jet whose
                slots are full lacks the constituents of the new ones.
        """
        if n_slots < 1:
            raise DataError("number of constituents must be positive", where="particles", found=n_slots)
        check_stored(self.n_constituents_all, self.mask, n_slots)
        jets, extra = self.ordered(), max(0, n_slots - self.n_slots)
        taken: dict[str, Any] = {
            name: np.pad(getattr(jets, name)[:, :n_slots], ((0, 0), (0, extra))) for name in _PER_SLOT
        }
        if n_slots < self.n_slots:
            taken["mass_condition"] = None
        return replace(jets, **taken)

    def select(self, index: Selection) -> Jets:
        """The jets that a slice, a mask of shape (N,) or a list of entries picks, in that order."""
        chosen = index if isinstance(index, slice) else np.asarray(index)
        if isinstance(chosen, np.ndarray):
            if chosen.dtype == np.bool_ and chosen.shape != (len(self),):
                raise DataError("wrong shape of a selection", expected=(len(self),), found=chosen.shape)
            if chosen.size == 0 and chosen.dtype != np.bool_:
                chosen = chosen.astype(np.int64)
        names = (*_PER_SLOT, *self.known_features)
        taken: dict[str, Any] = {name: getattr(self, name)[chosen] for name in names}
        return replace(self, **taken)

    def split(self, fraction: float, *, seed: int) -> tuple[Jets, Jets]:
        """Divide at random: ``round(fraction * N)`` jets and the rest, each in the original order.

        Raises:
            DataError: `fraction` is not in (0, 1), or one part would be empty.
        """
        n_first = round(fraction * len(self)) if 0.0 < fraction < 1.0 else 0
        if not 0 < n_first < len(self):
            raise DataError(
                "a split must leave jets in both parts",
                expected="a fraction between 0 and 1",
                found=f"fraction {fraction} of {len(self)} jets",
            )
        order = np.random.default_rng(seed).permutation(len(self))
        return self.select(np.sort(order[:n_first])), self.select(np.sort(order[n_first:]))

    @staticmethod
    def concatenate(parts: Sequence[Jets]) -> Jets:
        """Put jets one after the other.

        Features of the whole jet and weights must be present in all parts or in none, the number of slots must
        agree. `kind` becomes None if the parts differ, the provenance is the first part's.

        Raises:
            DataError: no parts, or parts that do not fit together.
        """
        if not parts:
            raise DataError("no jets to concatenate", remedy="give at least one part")
        head = parts[0]
        for index, part in enumerate(parts[1:], start=1):
            require_same_kind(head, part, where=f"part {index}")
        names = (*_PER_SLOT, *head.known_features)
        joined: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return replace(head, **joined, kind=head.kind if all(part.kind == head.kind for part in parts) else None)

    @property
    def known_features(self) -> tuple[str, ...]:
        """Names of the features of shape (N,) that are not None."""
        return tuple(name for name in _PER_JET if getattr(self, name) is not None)


def require_same_kind(head: Jets, part: Jets, *, where: str) -> None:
    """Raise `DataError` unless `part` has as many slots and the same known features as `head`."""
    if part.n_slots != head.n_slots:
        raise DataError(
            "jets with different numbers of slots",
            where=where,
            expected=head.n_slots,
            found=part.n_slots,
            remedy="bring them to one number with Jets.hardest",
        )
    for name in _PER_JET:
        if (getattr(head, name) is None) != (getattr(part, name) is None):
            raise DataError(f"{name} is given for some jets only", where=where)
