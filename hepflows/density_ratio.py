"""The ratio of two densities as a module: a perceptron, its calibration, a norm and a bound, in portable operators."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from hepflows.calibration import Calibration

    Floats = NDArray[np.float64]

_KNOTS: Final = 33
_CLOSEST: Final = 0.02  # knots nearer than this would make slopes that float32 cannot follow
_IN_A_BIN: Final = 100.0  # events of the outermost bins, about
_CHUNK: Final = 10_000


class DensityRatio(nn.Module):
    """Features (N, F) to log w (N,), in operators that every host of an exported graph has.

    Args:
        n_features: number of features F.
        hidden: units of the hidden layers.
        negative_slope: slope of the activation for negative arguments.
    """

    mean: Tensor
    scale: Tensor
    knots: Tensor
    lengths: Tensor
    slopes: Tensor
    lowest: Tensor
    log_limit: Tensor

    def __init__(self, n_features: int, hidden: tuple[int, ...], *, negative_slope: float = 0.01) -> None:
        super().__init__()
        widths = (n_features, *hidden, 1)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.negative_slope = negative_slope
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))
        self.register_buffer("knots", torch.zeros(_KNOTS - 1))
        self.register_buffer("lengths", torch.zeros(_KNOTS - 1))
        self.register_buffer("slopes", torch.zeros(_KNOTS - 1))
        self.register_buffer("lowest", torch.zeros(()))
        self.register_buffer("log_limit", torch.ones(()))

    def logits(self, features: Tensor) -> Tensor:
        """Logits (N,) of the network, not calibrated."""
        x = (features - self.mean) / self.scale
        for layer in self.layers[:-1]:
            x = layer(x)
            x = torch.maximum(x, self.negative_slope * x)
        last: Tensor = self.layers[-1](x)
        return last.squeeze(1)

    def forward(self, features: Tensor) -> Tensor:
        """Log weights (N,), calibrated, normalised and clipped."""
        ramps = torch.minimum((self.logits(features)[:, None] - self.knots).clamp_min(0.0), self.lengths)
        calibrated = self.lowest + (ramps * self.slopes).sum(1)
        return torch.minimum(calibrated, self.log_limit)

    @torch.no_grad()
    def take_calibration(self, calibration: Calibration, logits: Floats, *, max_weight: float) -> None:
        """Keep a calibration as at most 33 knots, between which log w is linear and beyond which it is constant.

        A knot stands at the mean logit of a bin and has the bin's mean score; bins grow finer towards the ends, where
        weights matter most, yet hold some events each: single events, whose isotonic scores are extreme, count little.

        Args:
            calibration: map of logits to scores.
            logits: of the events that it was fitted on (N,).
            max_weight: W, to which weights are clipped.
        """
        if calibration.affine is not None:
            a, b = calibration.affine
            log_w = np.log(calibration.scores / (1 - calibration.scores))
            x = (log_w - b) / a
        else:
            x, scores = _binned(np.sort(logits), calibration)
            log_w = np.log(scores / (1 - scores))
        lengths = np.maximum(np.diff(x), _CLOSEST)
        unused = _KNOTS - 1 - len(lengths)
        slopes = np.diff(log_w) / lengths
        for name, values in (("knots", x[:-1]), ("lengths", lengths), ("slopes", slopes)):
            getattr(self, name).copy_(torch.from_numpy(np.pad(values, (0, unused))))
        self.lowest.fill_(float(log_w[0]))
        self.log_limit.fill_(math.log(max_weight))

    @torch.no_grad()
    def normalise(self, features: Tensor, weights: Floats | None = None) -> None:
        """Shift log w so that these generated events, (N, F), have the mean weight 1."""
        for _ in range(20):  # clipping makes the mean a little less than proportional to the shift
            mean = float(np.average(self.weights(features), weights=weights))
            self.lowest -= math.log(mean)

    @torch.no_grad()
    def weights(self, features: Tensor) -> Floats:
        """Weights (N,) of features (N, F), in chunks."""
        parts = [self(part).double().exp() for part in features.split(_CHUNK)]
        return np.asarray(torch.cat(parts).cpu().numpy(), np.float64)


def _binned(logits: Floats, calibration: Calibration) -> tuple[Floats, Floats]:
    """Mean logit and mean score of at most 33 bins of sorted logits, at least `_CLOSEST` apart; two at least."""
    reach = np.log(max(2.0, len(logits) / _IN_A_BIN))
    inner = 1 / (1 + np.exp(-np.linspace(-reach, reach, _KNOTS - 1)))
    borders = np.unique(np.concatenate([[0], np.round(inner * len(logits)), [len(logits)]]).astype(np.int64))
    scores = calibration(logits)
    knots: list[tuple[float, float]] = []
    for start, stop in itertools.pairwise(borders.tolist()):
        at = float(logits[start:stop].mean())
        # half an event of either class more: of n events alone no ratio beyond 2 n can be known
        score = (float(scores[start:stop].sum()) + 0.5) / (stop - start + 1)
        if not knots or at - knots[-1][0] >= _CLOSEST:
            knots.append((at, score))
    if len(knots) == 1:
        knots.append((knots[0][0] + _CLOSEST, knots[0][1]))
    x, y = zip(*knots, strict=True)
    return np.array(x), np.array(y)
