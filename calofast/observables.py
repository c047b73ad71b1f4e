"""Calorimeter showers as the validation sees them (arXiv 2410.21611, 2106.05285).

Voxels below the hit threshold are zeroed first, in every sample alike. Positions are bin midpoints in mm; for
cylindrical layers eta = r cos alpha and phi = r sin alpha. `ShowerDomain` offers them to the validation.

Example:
    >>> from calofast import OBSERVABLES
    >>> names = [o.name for o in OBSERVABLES.observables(showers)]  # doctest: +SKIP
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from calofast.challenge_inputs import challenge_high, high_measure
from calofast.classifier_inputs import feature_matrix
from calofast.compatibility import check_compatible, compare_spectra
from calofast.condition_values import condition_rows, energy_observable
from calofast.images import layer_images
from calofast.shower_observables import event_observables, voxel_observables
from calofast.shower_profiles import profile_observables, shower_response
from calofast.shower_shapes import layer_label
from hepflows.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from calofast.geometry import Geometry
    from calofast.showers import Showers
    from hepflows.observable import Image, Measure, Observable, Response

INPUTS = ("low", "low_normed", "log", "high")
_CHALLENGE = "calochallenge_"


def default_threshold_mev(geometry: Geometry) -> float:
    """Published hit threshold: 1 MeV (CaloChallenge set 1), 15.15 keV (2, 3), else 10 keV (CaloFlow)."""
    if geometry.name in (f"{_CHALLENGE}photons", f"{_CHALLENGE}pions"):
        return 1.0
    return 0.01515 if geometry.name.startswith(f"{_CHALLENGE}dataset_") else 0.01


@dataclass(frozen=True, kw_only=True)
class ShowerDomain:
    """Calorimeter showers as a domain of the validation.

    Attributes:
        threshold_mev: voxels below it are zeroed before anything is measured; None takes the published value
            of the geometry (`default_threshold_mev`).
    """

    threshold_mev: float | None = None

    def __post_init__(self) -> None:
        if self.threshold_mev is not None and not 0 <= self.threshold_mev < np.inf:
            raise ConfigError(
                "hit threshold must be finite and not negative",
                where="threshold_mev",
                expected="MeV, 0.01 for example",
                found=self.threshold_mev,
            )

    @property
    def name(self) -> str:
        """Name in reports."""
        return "calofast"

    @property
    def noun(self) -> str:
        """What the events are called."""
        return "showers"

    @property
    def reference_label(self) -> str:
        """What the reference is called in reports."""
        return "Geant4"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Input sets of the classifier test."""
        return INPUTS

    @property
    def ratios(self) -> tuple[str, ...]:
        """Observables whose mean and width are compared as ratios."""
        return ("e_tot_ratio",)

    def profiled(self, showers: Showers, /) -> tuple[str, ...]:
        """Observables whose mean is compared in bins of the incident energy."""
        return tuple(f"layer_fraction_{layer_label(layer)}" for layer in showers.geometry.layers)

    def configured(self, options: Mapping[str, float], /) -> ShowerDomain:
        """This domain with another hit threshold: ``{"threshold_mev": 1.0}``."""
        unknown = sorted(set(options) - {"threshold_mev"})
        if unknown:
            raise ConfigError("unknown setting", where=unknown[0], expected="threshold_mev")
        return dataclasses.replace(self, **options)

    def settings(self, showers: Showers, /) -> dict[str, float | str]:
        """Threshold and geometry in force."""
        return {"threshold_mev": self._threshold(showers, None), "geometry": showers.geometry.name}

    def compatible(self, reference: Showers, generated: Showers, /) -> None:
        """Check geometry, particle and conditions.

        Raises:
            GeometryError: different voxels.
            DataError: different particles or conditions, or no common incident energies.
            UnitsError: no energy in common by a factor that looks like MeV against GeV.
        """
        check_compatible(reference, generated)
        threshold, largest = self._threshold(reference, None), float(reference.voxels_mev.max())
        if largest < threshold:
            raise DataError(
                "no voxel of the reference reaches the hit threshold",
                where=reference.provenance.get("file"),
                expected=f"a threshold below {largest:g} MeV",
                found=f"{threshold:g} MeV",
                remedy="lower --threshold-mev, or check the units of the data",
            )

    def cautions(self, reference: Showers, generated: Showers, /) -> tuple[str, ...]:
        """Differences between the samples that move observables although the generator may be perfect."""
        return compare_spectra(reference, generated)

    def condition(self, showers: Showers, /) -> NDArray[np.float64]:
        """Incident energy and further conditions, (N, C)."""
        return condition_rows(showers)

    def binning(self, showers: Showers, /) -> Observable:
        """Incident energy in GeV."""
        return energy_observable(showers)

    def observables(self, showers: Showers, /, *, threshold_mev: float | None = None) -> tuple[Observable, ...]:
        """All observables.

        Args:
            showers: N showers.
            threshold_mev: overrides the domain's threshold.

        Returns:
            `Observable`s of N values (voxel energies: (N, V)); energies in MeV, lengths in mm. Centres and
            widths of a layer without energy are NaN.
        """
        showers = showers.with_threshold(self._threshold(showers, threshold_mev))
        return (*event_observables(showers), *profile_observables(showers), *voxel_observables(showers))

    def response(self, showers: Showers, /) -> Response:
        """Incident and deposited energy, longitudinal and radial profile, hit threshold applied."""
        return shower_response(showers.with_threshold(self._threshold(showers, None)))

    def measures(self, showers: Showers, /) -> tuple[Measure, ...]:
        """What FPD and KPD are made of: the published ``high`` inputs of the CaloChallenge."""
        return (high_measure(self.classifier_inputs(showers, preset="calochallenge", inputs="high")),)

    def classifier_inputs(
        self, showers: Showers, /, *, preset: str, inputs: str, threshold_mev: float | None = None
    ) -> NDArray[np.float32]:
        """Feature matrix of the classifier test.

        Args:
            showers: N showers.
            preset: ``caloflow`` for its published scales of ``low`` and ``low_normed``; every other name
                takes those of the CaloChallenge. ``calochallenge`` for its published ``high``; every other name
                takes all observables.
            inputs: ``low`` (voxels), ``low_normed`` (voxels / E_layer), ``log`` (log10 of voxels, dark
                voxels at the threshold) or ``high`` (the observables, without voxel energies).
            threshold_mev: overrides the domain's threshold.

        Returns:
            Features (N, F): a function of E_inc (not in the CaloChallenge's ``low_normed``), then voxels,
            then layer energies; ``high``: E_inc, observables.
        """
        if inputs not in INPUTS:
            raise ConfigError("unknown classifier inputs", expected=", ".join(INPUTS), found=inputs)
        threshold = self._threshold(showers, threshold_mev)
        showers = showers.with_threshold(threshold)
        if preset == "calochallenge" and inputs == "high":
            return challenge_high(showers.incident_energy_gev, event_observables(showers))
        return feature_matrix(showers, inputs=inputs, caloflow=preset == "caloflow", threshold_mev=threshold)

    def mirrors(self, showers: Showers, /, *, inputs: str) -> tuple[NDArray[np.int64], ...]:
        """Column permutations of the ``log`` inputs that mirror showers.

        None if there are conditions besides the energy (angle, place). Valid for particles that enter along
        the axis of a detector with the mirror symmetry of its cells.
        """
        if inputs != "log" or showers.conditions:
            return ()
        return tuple(
            np.concatenate([np.zeros(1, np.int64), 1 + permutation])
            for permutation in showers.geometry.mirrors().values()
        )

    def images(self, showers: Showers, /) -> tuple[Image, ...]:
        """Mean energy per cell of each layer, hit threshold applied."""
        return layer_images(showers.with_threshold(self._threshold(showers, None)))

    def threshold(self, geometry: Geometry) -> float:
        """The hit threshold in MeV in force for a geometry."""
        return default_threshold_mev(geometry) if self.threshold_mev is None else self.threshold_mev

    def _threshold(self, showers: Showers, override: float | None) -> float:
        return self.threshold(showers.geometry) if override is None else override


OBSERVABLES = ShowerDomain()
"""The domain with the published thresholds."""


__all__ = ["INPUTS", "OBSERVABLES", "ShowerDomain", "default_threshold_mev"]
