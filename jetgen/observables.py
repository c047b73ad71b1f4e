"""Jets as the validation sees them: the metrics of JetNet (arXiv 2106.11535, 2211.10295), shapes and spectra.

`JetDomain` offers them to the validation.

Example:
    >>> from jetgen import OBSERVABLES
    >>> names = [o.name for o in OBSERVABLES.observables(jets)]  # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from hepflows.errors import ConfigError, DataError
from hepflows.observable import Measure, Observable
from jetgen.energy_flow import PHYSICS_GRAPHS, PRIME_GRAPHS, energy_flow
from jetgen.images import discs, mean_image
from jetgen.jet_observables import constituent_observables, jet_observables
from jetgen.jet_shapes import AXES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from hepflows.observable import Discs, Image
    from jetgen.jets import Jets

INPUTS: Final = ("all",)


@dataclass(frozen=True, kw_only=True)
class JetDomain:
    """Point-cloud jets as a domain of the validation."""

    @property
    def name(self) -> str:
        """Name in reports."""
        return "jetgen"

    @property
    def noun(self) -> str:
        """What the events are called."""
        return "jets"

    @property
    def reference_label(self) -> str:
        """What the reference is called in reports."""
        return "Pythia"

    @property
    def inputs(self) -> tuple[str, ...]:
        """The one input set of the classifier test."""
        return INPUTS

    @property
    def ratios(self) -> tuple[str, ...]:
        """Observables whose mean and width are compared as ratios."""
        return ("width", "dispersion")

    def profiled(self, jets: Jets, /) -> tuple[str, ...]:  # noqa: ARG002 - other domains depend on their events
        """Observables whose mean is compared in bins of the relative mass."""
        return ("multiplicity", "width", "tau21")

    def configured(self, options: Mapping[str, float], /) -> JetDomain:
        """Jets have no settings.

        Raises:
            ConfigError: there is an option.
        """
        if options:
            raise ConfigError("unknown setting", where=min(options), expected="none for jets")
        return self

    def settings(self, jets: Jets, /) -> dict[str, float | str]:
        """Slots, the axes of N-subjettiness and the tagger behind ``frechet_tagger``."""
        from jetgen.tagger import tagger_provenance

        tagger = tagger_provenance()
        return {
            "constituents": jets.n_slots,
            "subjet_axes": AXES,
            "tagger": f"frozen, {tagger['held_out_accuracy']:.3f} of held-out g, q, t jets told right",
        }

    def compatible(self, reference: Jets, generated: Jets, /) -> None:
        """Check kind and number of slots.

        Raises:
            DataError: different kinds of jets, or different largest numbers of constituents.
        """
        where = generated.provenance.get("file")
        if reference.n_slots != generated.n_slots:
            raise DataError(
                "reference and generated jets have different numbers of slots for constituents",
                where=where,
                expected=reference.n_slots,
                found=generated.n_slots,
                remedy="read both with the same largest number of constituents",
            )
        if None not in (reference.kind, generated.kind) and reference.kind != generated.kind:
            raise DataError(
                "reference and generated jets are of different kinds",
                where=where,
                expected=reference.kind,
                found=generated.kind,
                remedy="choose a reference of the same kind",
            )

    def cautions(self, reference: Jets, generated: Jets, /) -> tuple[str, ...]:
        """Differences between the samples that move observables although the generator may be perfect."""
        from scipy.stats import ks_2samp

        found = []
        wanted = mass_condition(generated)
        if wanted is not None:
            p_value = float(ks_2samp(reference.mass_rel, wanted, method="asymp").pvalue)
            if p_value < 1e-4:
                found.append(
                    "The mass conditions are not distributed like the masses of the reference "
                    f"(Kolmogorov-Smirnov p = {p_value:.1g}): all distributions differ for that reason alone."
                )
        if None in (reference.kind, generated.kind) and reference.kind != generated.kind:
            found.append("One of the files does not say which jets it holds.")
        return tuple(found)

    def condition(self, jets: Jets, /) -> NDArray[np.float64]:
        """Relative mass that was asked for, or the jet's own, and multiplicity, (N, 2)."""
        wanted = mass_condition(jets)
        return np.stack([jets.mass_rel if wanted is None else wanted, jets.multiplicity.astype(np.float64)], axis=1)

    def binning(self, jets: Jets, /) -> Observable:
        """Relative mass."""
        return Observable(name="mass_rel", label=r"$m_\mathrm{rel}$", unit="", group="condition", values=jets.mass_rel)

    def observables(self, jets: Jets, /) -> tuple[Observable, ...]:
        """All observables: `Observable`s of (N,), those of all constituents (N, P) with NaN in empty slots."""
        return (*jet_observables(jets), *constituent_observables(jets))

    def measures(self, jets: Jets, /) -> tuple[Measure, ...]:
        """What the published metrics of jets are made of."""
        from jetgen.tagger import tagger_activations

        polynomials = energy_flow(jets, (*PHYSICS_GRAPHS, *PRIME_GRAPHS.values()))
        physics, primes = np.split(polynomials, [len(PHYSICS_GRAPHS)], axis=1)
        particles = np.where(jets.mask[:, :, None], jets.particles, np.float32(np.nan))
        return (
            Measure(kind="wasserstein", names=("w1m",), label="relative mass", values=jets.mass_rel),
            Measure(
                kind="wasserstein",
                names=("w1p",),
                label="eta, phi and pT of constituents, empty slots left out, mean of the three",
                values=particles,
            ),
            Measure(
                kind="wasserstein",
                names=("w1efp",),
                label="the five prime energy-flow polynomials with n = d = 4, mean of the five",
                values=primes,
            ),
            Measure(kind="matching", names=("cov", "mmd"), label="constituents", values=jets.particles),
            Measure(
                kind="physics",
                names=("fpd", "kpd"),
                label="the 36 energy-flow polynomials with d <= 4",
                values=physics,
            ),
            Measure(
                kind="frechet",
                names=("frechet_tagger",),
                label="activations of a frozen tagger of g, q and t jets",
                values=tagger_activations(jets),
            ),
            Measure(
                kind="largest",
                names=("mass_relative_error_max",),
                label="relative deviation of the mass from the one asked for",
                values=mass_deviation(jets),
            ),
        )

    def classifier_inputs(self, jets: Jets, /, *, preset: str, inputs: str) -> NDArray[np.float32]:  # noqa: ARG002
        """Feature matrix (N, 4 P + 15) of the classifier test, the same for all presets."""
        from jetgen.classifier_inputs import feature_matrix

        if inputs not in INPUTS:
            raise ConfigError("unknown classifier inputs", expected=", ".join(INPUTS), found=inputs)
        return feature_matrix(jets)

    def mirrors(self, jets: Jets, /, *, inputs: str) -> tuple[NDArray[np.int64], ...]:  # noqa: ARG002
        """None: mirrored jets have other signs, not other columns."""
        return ()

    def images(self, jets: Jets, /) -> tuple[Image, ...]:
        """The mean flow of pT."""
        return (mean_image(jets),)

    def discs(self, jets: Jets, /) -> tuple[Discs, ...]:
        """Every jet as discs in the plane of eta and phi."""
        return discs(jets)


def mass_condition(jets: Jets) -> NDArray[np.float64] | None:
    """The relative masses that a generator was asked for, shape (N,), or None where the jets do not say."""
    return None if jets.mass_condition is None else jets.mass_condition.astype(np.float64)


def mass_deviation(jets: Jets) -> NDArray[np.float64]:
    """(m - m_condition) / m_condition, shape (N,); NaN where no mass, or no positive one, was asked for."""
    wanted = mass_condition(jets)
    if wanted is None:
        return np.full(len(jets), np.nan)
    asked = np.where(wanted > 0, wanted, np.nan)
    return np.asarray((jets.mass_rel - asked) / asked)


OBSERVABLES = JetDomain()
"""The domain of jets."""

__all__ = ["INPUTS", "OBSERVABLES", "JetDomain", "mass_condition", "mass_deviation"]
