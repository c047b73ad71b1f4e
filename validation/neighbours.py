"""Precision, recall, density and coverage: how the supports of two samples of feature vectors overlap.

Around every event lies a ball that reaches to its k-th nearest neighbour in its own sample. With r reference events
and g generated ones (improved precision and recall: Kynkaanniemi et al., arXiv 1904.06991; density and coverage: Naeem
et al., arXiv 2002.09797, equations 1 to 4)

* precision is the share of generated events inside the ball of any reference event: are they realistic?
* recall is the share of reference events inside the ball of any generated event: is the variety there?
* density is the number of reference balls that a generated event lies in, over k, on average: precision that no single
  outlying reference event with its large ball can lift; 1 for equal distributions, more for events crowded in the core;
* coverage is the share of reference balls with a generated event inside, recall that outlying generated events cannot
  lift; 1 - prod_i (n - i) / (2 n - i), i = 1 ... k, for equal distributions and n events each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from hepflows.errors import ConfigError, DataError
from validation.frechet import check_features

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Index = NDArray[np.int64]

NEIGHBOURS: Final = 5
"""Neighbours that a ball reaches to, as arXiv 2002.09797 chose it."""
MAX_EVENTS: Final = 3_000
"""Most events of a sample that are compared; all distances among them are computed."""
NAMES: Final = ("precision", "recall", "density", "coverage")
_REACH: Final = 6  # half of the events are left out for errors: that many times k neighbours hold the k-th one left
_ROWS: Final = 512  # of a matrix of distances at a time


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """The four numbers and their statistical uncertainties, each (4,), in the order of `NAMES`."""

    values: Floats
    errors: Floats


def support_overlap(
    reference: Floats, generated: Floats, *, neighbours: int = NEIGHBOURS, replicas: int = 100, seed: int = 0
) -> Overlap:
    """Precision, recall, density and coverage of two samples.

    Uncertainties come from halves of both samples drawn without replacement: by the finite-population correction
    (n - n/2) / (n/2) = 1 the numbers scatter among halves as those of n events do among experiments; where a number is
    near 1 somewhat more, since half of the events fill space less densely. The ordinary
    bootstrap repeats events, whose nearest neighbour is then their own copy: it fails for such metrics (Abadie and
    Imbens, Econometrica 76 (2008) 1537).

    Args:
        reference: feature vectors (N, F) in comparable units, finite.
        generated: feature vectors (M, F).
        neighbours: k.
        replicas: number of halves for the errors; fewer than 2 leave them 0.
        seed: of the halves.

    Raises:
        ConfigError: less than one neighbour.
        DataError: features that do not fit together, or fewer than 2 k + 2 events.
    """
    if neighbours < 1:
        raise ConfigError("too few neighbours", where="neighbours", expected="1 or more", found=neighbours)
    for values in (reference, generated):
        check_features(values, reference.shape[-1])
    if min(len(reference), len(generated)) < 2 * neighbours + 2:
        raise DataError(
            "too few events for precision, recall, density and coverage",
            expected=f"at least {2 * neighbours + 2}",
            found=min(len(reference), len(generated)),
            remedy="use more events or fewer neighbours",
        )
    pairs = _Pairs(reference, generated, neighbours=neighbours)
    value = pairs.numbers(np.ones(len(reference), bool), np.ones(len(generated), bool))
    rng = np.random.default_rng(seed)
    drawn = [pairs.numbers(_half(rng, len(reference)), _half(rng, len(generated))) for _ in range(replicas)]
    errors = np.std(drawn, axis=0, ddof=1) if replicas > 1 else np.zeros(len(NAMES))
    return Overlap(values=value, errors=np.asarray(errors))


class _Pairs:
    """Nearest neighbours within both samples, and all pairs between them that some half may count."""

    def __init__(self, reference: Floats, generated: Floats, *, neighbours: int) -> None:
        self.neighbours = neighbours
        reach = min(_REACH * neighbours, len(reference) - 1, len(generated) - 1)
        self.nearest = tuple(_nearest(values, reach) for values in (reference, generated))
        self.balls = tuple(
            _within(centres, points, self.nearest[k][0][:, -1])
            for k, (centres, points) in enumerate(((reference, generated), (generated, reference)))
        )

    def numbers(self, kept_reference: NDArray[np.bool_], kept_generated: NDArray[np.bool_]) -> Floats:
        """The four numbers (4,) of these events alone."""
        n, m = int(kept_reference.sum()), int(kept_generated.sum())
        centre, point = self._inside(0, kept_reference, kept_generated)
        recalled = self._inside(1, kept_generated, kept_reference)[1]
        return np.array([
            np.unique(point).size / m,
            np.unique(recalled).size / n,
            len(point) / (self.neighbours * m),
            np.unique(centre).size / n,
        ])  # fmt: skip

    def _inside(
        self, which: int, kept_centres: NDArray[np.bool_], kept_points: NDArray[np.bool_]
    ) -> tuple[Index, Index]:
        """Centres and points of all pairs in which the point lies inside the ball, of the events kept."""
        distances, index = self.nearest[which]
        order = np.cumsum(kept_centres[index], axis=1) >= self.neighbours
        last = np.where(order.any(1), order.argmax(1), index.shape[1] - 1)
        radius = distances[np.arange(len(distances)), last]
        centre, point, distance = self.balls[which]
        chosen = kept_centres[centre] & kept_points[point] & (distance < radius[centre])
        return centre[chosen], point[chosen]


def _half(rng: np.random.Generator, n: int) -> NDArray[np.bool_]:
    return np.asarray(rng.permutation(n) < n // 2)


def _nearest(values: Floats, reach: int) -> tuple[Floats, Index]:
    """Distances (N, reach) to the nearest other events of the sample, ascending, and their positions."""
    from scipy.spatial.distance import cdist

    distances = np.empty((len(values), reach))
    index = np.empty((len(values), reach), np.int64)
    for start in range(0, len(values), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(values)))
        every = cdist(values[rows], values)
        every[rows - start, rows] = np.inf  # an event is no neighbour of itself
        some = np.argpartition(every, reach - 1, axis=1)[:, :reach]
        found = np.take_along_axis(every, some, axis=1)
        order = np.argsort(found, axis=1, kind="stable")
        index[rows] = np.take_along_axis(some, order, axis=1)
        distances[rows] = np.take_along_axis(found, order, axis=1)
    return distances, index


def _within(centres: Floats, points: Floats, radius: Floats) -> tuple[Index, Index, Floats]:
    """All pairs whose point is nearer to the centre than its radius: positions of both and their distance."""
    from scipy.spatial.distance import cdist

    found: list[tuple[Index, Index, Floats]] = []
    for start in range(0, len(centres), _ROWS):
        every = cdist(centres[start : start + _ROWS], points)
        row, column = np.nonzero(every < radius[start : start + _ROWS, None])
        found.append((row + start, column, every[row, column]))
    first, second, distance = zip(*found, strict=True)
    return np.concatenate(first), np.concatenate(second), np.concatenate(distance)
