"""Metrics of a comparison that look at single events and single cells: copies, repetitions, dead cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from hepflows.errors import DataError
from validation.cells import LEAST_EVENTS, cell_occupancy
from validation.event_table import fit_scale
from validation.nearest import SAME, SHARE, duplicates, memorisation, neighbour_distances
from validation.sample_metrics import Judgement
from validation.views import NearestView

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from validation.measure import Estimate, Part, Sample

    Floats = NDArray[np.float64]

MAX_TRAINING: Final = 50_000
"""Most training events that neighbours are looked for among, drawn at random."""

EVENT_JUDGEMENTS: Final[Mapping[str, Judgement]] = {
    "memorisation_ratio": Judgement(
        target=1.0,
        two_sided=True,
        meaning="Median distance of generated events to the nearest training event, over that of held-out events "
        "(standardised observables): below 1 where training events are remembered. Bootstrap error",
    ),
    "memorised_share": Judgement(
        target=SHARE,
        meaning=f"Share of generated events nearer to a training event than the nearest {SHARE:.0%} of held-out "
        f"events are; {SHARE} for a perfect generator. Bootstrap error",
    ),
    "duplicates": Judgement(
        target=0.0,
        meaning=f"Share of generated events that occur twice (within {SAME:g} standard deviations). Bootstrap error",
    ),
    "near_duplicates": Judgement(
        target=SHARE,
        meaning=f"Share of generated events nearer to another one than the nearest {SHARE:.0%} of reference events "
        f"are to theirs; {SHARE} for a perfect generator. Bootstrap error",
    ),
    "cell_occupancy_max": Judgement(
        target=0.0,
        meaning="Largest pull of any cell's occupancy, pooled two-proportion test, of the cells lit and dark in at "
        f"least {LEAST_EVENTS} events. Bootstrap error",
    ),
    "cell_occupancy_chi2": Judgement(
        target=1.0, meaning="Mean squared pull of the cells' occupancies, 1 for equal samples. Bootstrap error"
    ),
}
"""How these metrics are to be read."""


class EventMetrics:
    """Measures them, and keeps the distances for the pictures.

    Args:
        samples: arrays by sample name, the reference's under ``reference``.
        training: arrays of the training events, or None if they are not known.
        most: most events of a sample whose neighbours are looked for.
        replicas: bootstrap replicas.
        seed: of the bootstrap and of the choice of events.

    Raises:
        DataError: there are no training events.
    """

    def __init__(
        self, samples: Mapping[str, Sample], training: Sample | None, *, most: int, replicas: int, seed: int
    ) -> None:
        if training is not None and len(training.binning) == 0:
            raise DataError("no training events", where="training", expected="1 or more", found=0)
        self._most, self._replicas, self._seed = most, replicas, seed
        fitted_on = samples["reference"] if training is None else training
        scale = fit_scale(fitted_on.observables.values())
        self._tables: dict[str, Floats] = {}
        self._training: Floats | None = None
        self._found: dict[tuple[str, bytes], tuple[Floats, Floats | None]] = {}
        if scale is not None:
            self._tables = {name: scale.apply(sample.observables.values()) for name, sample in samples.items()}
            if training is not None:
                table = scale.apply(training.observables.values())
                rng = np.random.default_rng(seed)
                chosen = rng.choice(len(table), min(MAX_TRAINING, len(table)), replace=False)
                self._training = table[np.sort(chosen)]
        self.views: dict[str, NearestView] = {}

    def measure(self, name: str, generated: Part, reference: Part) -> dict[str, Estimate]:
        """All metrics between half A of the reference and some events of a sample.

        Raises:
            DataError: the reference consists of training events.
        """
        found: dict[str, Estimate] = {}
        weights = generated.weights, reference.weights
        for key, observable in reference.sample.observables.items():
            if observable.cells:
                found |= zip(
                    ("cell_occupancy_max", "cell_occupancy_chi2"),
                    cell_occupancy(
                        generated.values(key),
                        reference.values(key),
                        replicas=self._replicas,
                        seed=self._seed,
                        weights=weights,
                    ),
                    strict=True,
                )
        if self._tables:
            found |= self._distances(name, generated, reference)
        return found

    def _distances(self, name: str, generated: Part, reference: Part) -> dict[str, Estimate]:
        g, r = self._some(generated.index), self._some(reference.index)
        among_g, train_g = self._neighbours(name, generated.index[g])
        among_r, train_r = self._neighbours("reference", reference.index[r])
        chosen = tuple(None if w is None else w[i] for w, i in ((generated.weights, g), (reference.weights, r)))
        settings = {"replicas": self._replicas, "seed": self._seed}
        found = dict(
            zip(
                ("duplicates", "near_duplicates"),
                duplicates(among_g, among_r, weights=(chosen[0], chosen[1]), **settings),
                strict=True,
            )
        )
        if train_g is not None and train_r is not None:
            found |= zip(
                ("memorisation_ratio", "memorised_share"),
                memorisation(train_g, train_r, weights=(chosen[0], chosen[1]), **settings),
                strict=True,
            )
        self.views.setdefault("reference", NearestView(to_training=train_r, to_others=among_r))
        if name != "reference":
            self.views[name] = NearestView(to_training=train_g, to_others=among_g)
        return found

    def _some(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions of at most `most` events, sorted."""
        if len(index) <= self._most:
            return np.arange(len(index))
        return np.sort(np.random.default_rng(self._seed).choice(len(index), self._most, replace=False))

    def _neighbours(self, name: str, index: NDArray[np.int64]) -> tuple[Floats, Floats | None]:
        """Distances to the nearest other event and training event; those of half A serve all samples."""
        key = name, index.tobytes()
        if key not in self._found:
            table = self._tables[name][index]
            to_training = None if self._training is None else neighbour_distances(table, self._training)
            self._found[key] = neighbour_distances(table), to_training
        return self._found[key]
