"""Measured showers as a domain of the validation: the same numbers as `ShowerDomain`, without voxels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from calofast.challenge_inputs import challenge_high, high_measure
from calofast.classifier_inputs import high_columns
from calofast.compatibility import check_compatible, compare_spectra
from calofast.condition_values import condition_rows, energy_observable
from calofast.images import mean_images
from calofast.shower_profiles import response_of
from calofast.shower_shapes import layer_label
from hepflows.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from calofast.measured import MeasuredShowers
    from hepflows.observable import Image, Measure, Observable, Response

INPUTS: Final = ("high", "layers")


class MeasuredDomain:
    """What `calofast.observables.ShowerDomain` is for showers in memory; see `validation.domain.Domain`."""

    name = "calofast"
    noun = "showers"
    reference_label = "Geant4"
    inputs = INPUTS
    ratios = ("e_tot_ratio",)

    def profiled(self, showers: MeasuredShowers, /) -> tuple[str, ...]:
        """Observables whose mean is compared in bins of the incident energy."""
        return tuple(f"layer_fraction_{layer_label(layer)}" for layer in showers.geometry.layers)

    def configured(self, options: Mapping[str, float], /) -> MeasuredDomain:
        """The hit threshold belongs to the measurement, which is over.

        Raises:
            ConfigError: there is an option.
        """
        if options:
            raise ConfigError(
                "showers that are measured cannot be measured otherwise",
                where=min(options),
                remedy="give the threshold to calofast.measure_file",
            )
        return self

    def settings(self, showers: MeasuredShowers, /) -> dict[str, float | str]:
        """Threshold, geometry, and that voxels were not kept."""
        return {"threshold_mev": showers.threshold_mev, "geometry": showers.geometry.name, "voxels": "streamed"}

    def compatible(self, reference: MeasuredShowers, generated: MeasuredShowers, /) -> None:
        """Check geometry, particle, conditions and threshold.

        Raises:
            HepflowsError: see `calofast.compatibility.check_compatible`.
            DataError: different thresholds, or no energy above it in the reference.
        """
        check_compatible(reference, generated)
        if reference.threshold_mev != generated.threshold_mev:
            raise DataError(
                "reference and generated showers were measured with different thresholds",
                where=generated.provenance.get("file"),
                expected=f"{reference.threshold_mev:g} MeV",
                found=f"{generated.threshold_mev:g} MeV",
                remedy="measure both with the same threshold",
            )
        if not reference.layers_mev.any():
            raise DataError(
                "no voxel of the reference reaches the hit threshold",
                where=reference.provenance.get("file"),
                found=f"{reference.threshold_mev:g} MeV",
                remedy="lower --threshold-mev, or check the units of the data",
            )

    def cautions(self, reference: MeasuredShowers, generated: MeasuredShowers, /) -> tuple[str, ...]:
        """What differs besides the generator, and what a stream leaves out."""
        return (
            *compare_spectra(reference, generated),
            "Files were streamed: no spectra or occupancy of voxels, no single showers, no classifier of voxels.",
        )

    def condition(self, showers: MeasuredShowers, /) -> NDArray[np.float64]:
        """Incident energy and further conditions, (N, C)."""
        return condition_rows(showers)

    def binning(self, showers: MeasuredShowers, /) -> Observable:
        """Incident energy in GeV."""
        return energy_observable(showers)

    def observables(self, showers: MeasuredShowers, /) -> tuple[Observable, ...]:
        """All observables but the spectra of voxels."""
        return showers.observables()

    def response(self, showers: MeasuredShowers, /) -> Response:
        """Incident and deposited energy, longitudinal and radial profile."""
        return response_of(showers.geometry, showers.incident_energy_gev, showers.layers_mev, showers.radial_mev)

    def measures(self, showers: MeasuredShowers, /) -> tuple[Measure, ...]:
        """What FPD and KPD are made of, as of showers in memory."""
        return (high_measure(self.classifier_inputs(showers, preset="calochallenge", inputs="high")),)

    def classifier_inputs(
        self,
        showers: MeasuredShowers,
        /,
        *,
        preset: str,
        inputs: str,
    ) -> NDArray[np.float32]:
        """Features (N, F): log10 E_inc, then observables (``high``) or log10 of layer energies (``layers``)."""
        if inputs not in INPUTS:
            raise ConfigError("unknown classifier inputs", expected=", ".join(INPUTS), found=inputs)
        energy = np.log10(1e3 * showers.incident_energy_gev.astype(np.float64))[:, None]
        observables = showers.event_observables()
        if preset == "calochallenge" and inputs == "high":
            return challenge_high(showers.incident_energy_gev, observables)
        if inputs == "layers":
            observables = tuple(o for o in observables if o.name.startswith("layer_energy_"))
        return np.concatenate([energy, high_columns(observables)], axis=1).astype(np.float32)

    def mirrors(self, showers: MeasuredShowers, /, *, inputs: str) -> tuple[NDArray[np.int64], ...]:  # noqa: ARG002
        """None: mirrored showers have other signs, not other columns."""
        return ()

    def images(self, showers: MeasuredShowers, /) -> tuple[Image, ...]:
        """Mean energy per cell of each layer; none for a selection."""
        return () if showers.mean_mev is None else mean_images(showers.geometry, showers.mean_mev)


MEASURED = MeasuredDomain()
"""The domain of measured showers."""
