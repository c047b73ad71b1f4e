"""Whether two samples of showers can be compared, and what differs in them for reasons other than the generator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hepflows.errors import DataError, GeometryError, UnitsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from calofast.geometry import Geometry


class ShowerFacts(Protocol):
    """What must be known of showers, whether or not their voxels are in memory."""

    @property
    def geometry(self) -> Geometry:
        """Cells."""
        ...

    @property
    def pdg(self) -> int | None:
        """Particle, or None if unknown."""
        ...

    @property
    def incident_energy_gev(self) -> NDArray[np.float32]:
        """(N,)."""
        ...

    @property
    def conditions(self) -> Mapping[str, NDArray[np.float32]]:
        """Further scalars by name, each (N,)."""
        ...

    @property
    def provenance(self) -> Mapping[str, str]:
        """Where the showers come from."""
        ...


def check_compatible(reference: ShowerFacts, generated: ShowerFacts) -> None:
    """Check geometry, particle, conditions and incident energies.

    Raises:
        GeometryError: different voxels.
        DataError: different particles or conditions, or no common incident energies.
        UnitsError: no energy in common by a factor that looks like MeV against GeV.
    """
    if not reference.geometry.same_cells(generated.geometry):
        raise GeometryError(
            "reference and generated showers have different geometries",
            where=generated.provenance.get("file"),
            expected=f"{reference.geometry.name} ({reference.geometry.n_voxels} voxels)",
            found=f"{generated.geometry.name} ({generated.geometry.n_voxels} voxels)",
            remedy="compare with a reference simulated in the same cells; if a file was read with the wrong geometry, "
            "name it: --read geometry=NAME or --read-generated geometry=NAME",
        )
    if None not in (reference.pdg, generated.pdg) and reference.pdg != generated.pdg:
        raise DataError(
            "reference and generated showers come from different particles",
            where=generated.provenance.get("file"),
            expected=f"PDG {reference.pdg}",
            found=f"PDG {generated.pdg}",
            remedy="choose a reference of the same particle; if a file says the wrong one: --read pdg=CODE or "
            "--read-generated pdg=CODE",
        )
    if set(reference.conditions) != set(generated.conditions):
        raise DataError(
            "reference and generated showers have different conditions",
            where=generated.provenance.get("file"),
            expected=", ".join(sorted(reference.conditions)) or "incident energy only",
            found=", ".join(sorted(generated.conditions)) or "incident energy only",
        )
    low, high = _range(reference)
    found_low, found_high = _range(generated)
    if found_low > high * (1 + 1e-4) or found_high < low * (1 - 1e-4):
        factor = found_low / high if found_low > high else low / found_high
        kind = UnitsError if factor > 5 else DataError
        raise kind(
            "reference and generated showers share no incident energy",
            expected=f"within {low:g} to {high:g} GeV",
            found=f"{found_low:g} to {found_high:g} GeV",
            remedy="state the unit of the file that has another one (--read or --read-generated "
            "units.incident_energy=MeV), or generate at energies of the reference",
        )


def compare_spectra(reference: ShowerFacts, generated: ShowerFacts) -> tuple[str, ...]:
    """Sentences on incident energies that are distributed differently, and on unknown particles."""
    from scipy.stats import ks_2samp

    found = []
    p_value = float(ks_2samp(reference.incident_energy_gev, generated.incident_energy_gev, method="asymp").pvalue)
    if p_value < 1e-4:
        found.append(
            "The incident energies are distributed differently "
            f"(Kolmogorov-Smirnov p = {p_value:.1g}): all distributions differ for that reason alone. "
            "Generate with the reference's energies (`hepflows generate --like`)."
        )
    if None in (reference.pdg, generated.pdg) and reference.pdg != generated.pdg:
        found.append("One of the files does not say which particle it holds.")
    return tuple(found)


def _range(showers: ShowerFacts) -> tuple[float, float]:
    if len(showers.incident_energy_gev) == 0:
        raise DataError("no showers", expected="at least one shower")
    return float(showers.incident_energy_gev.min()), float(showers.incident_energy_gev.max())
