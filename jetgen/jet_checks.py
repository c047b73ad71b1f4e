"""Checks of jets given as arrays; every message names the jet and the slot, or the entry of the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hepflows.errors import DataError, UnitsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

MAX_ETA_REL: Final = 20.0  # the widest difference of pseudorapidities at a collider, with room
MAX_PHI_REL: Final = float(np.float32(np.pi))
_NEGATIVE_MASS_GEV: Final = -1.0  # E^2 - p^2 in single precision may come out this much below 0
_REMOVE: Final = "remove or repair these jets"


@dataclass(frozen=True, kw_only=True)
class Places:
    """How a message names a place.

    Attributes:
        path: file that the jets come from, None for arrays in memory.
        entries: number of each jet in that file, shape (N,).
    """

    path: Path | None = None
    entries: NDArray[np.int64] | None = None

    def name(self, array: str, jet: int, *slot: int) -> str:
        """``pt_rel, jet 3, slot 2``, or with the file and its entry."""
        rest = "".join(f", slot {i}" for i in slot)
        if self.entries is None:
            return f"{array}, jet {jet}{rest}"
        return f"{self.path}: entry {self.entries[jet]}, {array}{rest}"

    def whole(self, array: str) -> str:
        """The array itself."""
        return array if self.path is None else f"{self.path}: {array}"


IN_MEMORY: Final = Places()


def slot_mask(values: object, *, places: Places = IN_MEMORY) -> NDArray[np.bool_]:
    """The mask as booleans of shape (N, P), from booleans or numbers that are all 0 or 1.

    Raises:
        DataError: wrong shape or other values.
    """
    given = np.asarray(values)
    if given.ndim != 2 or given.shape[1] == 0:
        raise DataError("wrong shape", where=places.whole("mask"), expected="(N, P) with P >= 1", found=given.shape)
    if given.dtype.kind not in "biuf":
        raise DataError("not an array of booleans", where=places.whole("mask"), found=f"type {given.dtype}")
    mask = np.ascontiguousarray(given, dtype=np.bool_)
    if given.dtype != np.bool_:
        refuse(given, given != mask, "neither 0 nor 1", where="mask", places=places, remedy="correct the mask")
    return mask


def check_not_empty(mask: NDArray[np.bool_], *, places: Places = IN_MEMORY, remedy: str | None = None) -> None:
    """Raise `DataError` naming the first jet without constituents, if there is any."""
    empty = ~mask.any(axis=1)
    if empty.any():
        raise DataError(
            "a jet without constituents",
            where=places.name("mask", int(np.argmax(empty))),
            found=f"{int(empty.sum())} such jet(s)",
            remedy=remedy or "leave these jets out",
        )


def per_slot(values: object, mask: NDArray[np.bool_], where: str, *, places: Places = IN_MEMORY) -> NDArray[np.float32]:
    """Finite values in single precision of the shape of `mask`, exactly 0 where it is false.

    Raises:
        DataError: wrong shape, no numbers, not finite, or not 0 in an empty slot.
    """
    array = _float32(values, places.whole(where))
    if array.shape != mask.shape:
        raise DataError("wrong shape", where=places.whole(where), expected=mask.shape, found=array.shape)
    refuse(array, ~np.isfinite(array), "value is not finite", where=where, places=places, remedy=_REMOVE)
    refuse(
        array,
        (array != 0) & ~mask,
        "an empty slot holds a value",
        where=where,
        places=places,
        expected="exactly 0 where the mask is 0",
        remedy="set the empty slots to 0, or correct the mask",
    )
    return array


def per_jet(
    values: object, n: int, where: str, *, integer: bool = False, places: Places = IN_MEMORY
) -> NDArray[np.float32] | NDArray[np.int64]:
    """Finite values of shape (n,), in single precision or as integers.

    Raises:
        DataError: wrong shape, no numbers, not finite, or no whole numbers where `integer`.
    """
    array = np.asarray(values)
    floats = _float32(array, places.whole(where))
    if floats.shape != (n,):
        raise DataError("wrong shape", where=places.whole(where), expected=f"({n},)", found=floats.shape)
    refuse(floats, ~np.isfinite(floats), "value is not finite", where=where, places=places, remedy=_REMOVE)
    if not integer:
        return floats
    whole = np.asarray(np.rint(array), dtype=np.int64)
    remedy = "give numbers of constituents"
    refuse(array, array != whole, "not a whole number", where=where, places=places, remedy=remedy)
    return whole


def check_constituents(
    *,
    eta_rel: NDArray[np.float32],
    phi_rel: NDArray[np.float32],
    pt_rel: NDArray[np.float32],
    places: Places = IN_MEMORY,
) -> None:
    """Raise `DataError` for negative pT, `UnitsError` for angles beyond what radians can be."""
    refuse(pt_rel, pt_rel < 0, "negative pT", where="pt_rel", places=places, remedy=_REMOVE)
    for array, name, limit, text in (
        (eta_rel, "eta_rel", MAX_ETA_REL, f"|eta_rel| <= {MAX_ETA_REL:g}"),
        (phi_rel, "phi_rel", MAX_PHI_REL, "|phi_rel| <= pi, in rad"),
    ):
        refuse(
            array,
            np.abs(array) > np.float32(limit),
            "impossible difference of angles",
            where=name,
            places=places,
            expected=text,
            remedy="give radians, relative to the jet axis and without whole turns",
            error=UnitsError,
        )


def check_scalars(scalars: Mapping[str, NDArray[Any]], *, places: Places = IN_MEMORY) -> None:
    """Raise `DataError` for impossible features of the whole jet."""
    if (pt := scalars.get("jet_pt_gev")) is not None:
        refuse(pt, pt <= 0, "pT must be positive", where="jet_pt_gev", places=places, remedy=_REMOVE)
    if (mass := scalars.get("jet_mass_gev")) is not None:
        refuse(mass, mass < _NEGATIVE_MASS_GEV, "negative mass", where="jet_mass_gev", places=places, remedy=_REMOVE)
    if (asked := scalars.get("mass_condition")) is not None:
        refuse(asked, asked < 0, "negative mass", where="mass_condition", places=places)
    if (phi := scalars.get("jet_phi")) is not None:
        refuse(
            phi,
            np.abs(phi) > np.float32(2 * np.pi),
            "impossible azimuth",
            where="jet_phi",
            places=places,
            expected="within [-pi, pi] or [0, 2 pi], in rad",
            remedy="give radians without whole turns",
            error=UnitsError,
        )


def check_counts(n_all: NDArray[np.int64], mask: NDArray[np.bool_], *, places: Places = IN_MEMORY) -> None:
    """Raise `DataError` where the number of all constituents contradicts the mask."""
    stored = mask.sum(axis=1)
    missing = (n_all != stored) & (stored < mask.shape[1])
    for bad, what, relation in (
        (n_all < stored, "fewer constituents are stated than the jet has", "at least"),
        (missing, "constituents are missing though slots are empty", "exactly"),
    ):
        if bad.any():
            jet = int(np.argmax(bad))
            raise DataError(
                what,
                where=places.name("n_constituents_all", jet),
                expected=f"{relation} {stored[jet]}, the constituents in its {mask.shape[1]} slots",
                found=f"{n_all[jet]}{_count(bad)}",
                remedy="correct the numbers or the mask, or leave the numbers out",
            )


def check_stored(
    n_all: NDArray[np.int64] | None, mask: NDArray[np.bool_], n_slots: int, *, places: Places = IN_MEMORY
) -> None:
    """Raise `DataError` if more slots are wanted and a jet is known to lack the constituents for them."""
    if n_all is None or n_slots <= mask.shape[1]:
        return
    lost = n_all > mask.sum(axis=1)
    if lost.any():
        raise DataError(
            "the softer constituents of these jets are not stored",
            where=places.name("particles", int(np.argmax(lost))),
            expected=f"at most {mask.shape[1]} constituents",
            found=f"{n_slots} wanted, {int(lost.sum())} jet(s) have more than are stored",
            remedy="take fewer particles, or a file that holds more",
        )


def refuse(
    values: NDArray[Any],
    bad: NDArray[np.bool_],
    what: str,
    *,
    where: str,
    places: Places = IN_MEMORY,
    expected: str | None = None,
    remedy: str | None = None,
    error: type[DataError] = DataError,
) -> None:
    """Raise `error` naming the first jet (and slot) where `bad` is true, if there is any."""
    if not bad.any():
        return
    jet, *slot = np.argwhere(bad)[0].tolist()
    raise error(
        what,
        where=places.name(where, jet, *slot),
        expected=expected,
        found=f"{values[(jet, *slot)]:g}{_count(bad)}",
        remedy=remedy,
    )


def _count(bad: NDArray[np.bool_]) -> str:
    return f" ({int(bad.sum())} such values)" if bad.sum() > 1 else ""


def _float32(values: object, where: str) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):  # becomes infinite, which is refused with its place
            return np.ascontiguousarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError("not an array of numbers", where=where, found=str(error)) from None
