"""The training loop of the classifiers: a perceptron that tells classes apart, its best epoch kept."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from hepflows.errors import TrainingError
from hepflows.splitting import PARTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from hepflows.classifier_presets import ClassifierPreset

    Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Data:
    """All samples together.

    Attributes:
        x: features (N, F).
        label: class of each event (N,), 0 to `classes` - 1.
        weight: weights (N,) with which events count in loss and accuracy.
        part: 0 trains, 1 chooses the epoch and calibrates, 2 tests, anything else only gets a score (N,).
        classes: number of classes.
        emphasis: factors (F,) of the standardised inputs; None for 1.
    """

    x: torch.Tensor
    label: NDArray[np.float64]
    weight: NDArray[np.float64]
    part: NDArray[np.int64]
    classes: int = 2
    emphasis: torch.Tensor | None = None

    def scaling(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and scale (F,) that give every input of the training part mean 0 and deviation 1, or its emphasis."""
        deviation, mean = torch.std_mean(self.x[np.flatnonzero(self.part == 0)], dim=0)
        scale = torch.where(deviation > 1e-6 * (1 + mean.abs()), deviation, 1.0)
        return mean, scale if self.emphasis is None else scale / self.emphasis

    def standardised(self) -> Data:
        """The same with every input scaled by `scaling`."""
        mean, scale = self.scaling()
        return dataclasses.replace(self, x=(self.x - mean) / scale)


def balanced_weights(
    label: NDArray[np.float64], weight: NDArray[np.float64], part: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Weights with which the classes count the same in each part, and an average event counts one."""
    balanced = weight.copy()
    classes = np.unique(label)
    for p in range(len(PARTS)):
        for value in classes:
            mask = (part == p) & (label == value)
            if mask.any():
                balanced[mask] *= np.count_nonzero(part == p) / (len(classes) * balanced[mask].sum())
    return balanced


def fit(
    data: Data,
    preset: ClassifierPreset,
    mirrors: tuple[NDArray[np.int64], ...] = (),
    *,
    seed: int,
    by_loss: bool = False,
    progress: Progress | None = None,
) -> tuple[NDArray[np.float64], int]:
    """Train as `train` does.

    Returns:
        Logits of all events, (N,) of class 1 for two classes, else (N, classes); and the epoch kept, from 1.
    """
    network, best_epoch = train(data, preset, mirrors, seed=seed, by_loss=by_loss, progress=progress)
    return logits_of(network, data.x).cpu().double().numpy(), best_epoch


def train(
    data: Data,
    preset: ClassifierPreset,
    mirrors: tuple[NDArray[np.int64], ...] = (),
    *,
    seed: int,
    by_loss: bool = False,
    progress: Progress | None = None,
) -> tuple[nn.Sequential, int]:
    """Train on part 0 and keep the epoch with the best accuracy (if `by_loss`, the least cross entropy) on part 1.

    Returns:
        The network, in evaluation mode, and the epoch kept, from 1.

    Raises:
        TrainingError: the training diverged.
    """
    x, device = data.x, data.x.device
    w = torch.from_numpy(data.weight.astype(np.float32)).to(device)
    y = torch.from_numpy(data.label.astype(np.float32 if data.classes == 2 else np.int64)).to(device)
    rows, held = (torch.from_numpy(np.flatnonzero(data.part == p)).to(device) for p in (0, 1))
    flips = [torch.from_numpy(m).to(device) for m in mirrors]
    random = torch.Generator().manual_seed(seed)
    network = perceptron(x.shape[1], preset, outputs=1 if data.classes == 2 else data.classes, seed=seed).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=preset.learning_rate)
    best, best_quality, best_epoch = network.state_dict(), -np.inf, 0
    for epoch in range(1, preset.epochs + 1):
        if preset.decay:
            optimiser.param_groups[0]["lr"] = preset.learning_rate * _fall((epoch - 1) / preset.epochs)
        network.train()
        shuffled = rows[torch.randperm(len(rows), generator=random).to(device)]
        for batch in torch.split(shuffled, preset.batch_size):
            features = x[batch]
            for flip in flips:
                chosen = (torch.rand(len(batch), 1, generator=random) < 0.5).to(device)
                features = torch.where(chosen, features[:, flip], features)
            loss = (_losses(network(features).squeeze(1), y[batch]) * w[batch]).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        logits = logits_of(network, x[held])
        if not bool(torch.isfinite(logits).all()):
            raise TrainingError(
                "the training of a classifier diverged",
                found=f"outputs that are not finite after epoch {epoch}",
                remedy="lower its learning_rate, or look for extreme values among its inputs",
            )
        right = -_losses(logits, y[held]) if by_loss else _right(logits, y[held])
        quality = float((right * w[held]).sum() / w[held].sum())
        if quality > best_quality:
            best = {name: tensor.clone() for name, tensor in network.state_dict().items()}
            best_quality, best_epoch = quality, epoch
        if progress is not None:
            progress(epoch, preset.epochs)
        if best_quality >= 1.0:
            break
    network.load_state_dict(best)
    return network.eval(), best_epoch


def perceptron(n_features: int, preset: ClassifierPreset, *, outputs: int, seed: int) -> nn.Sequential:
    """Multi-layer perceptron, initialised without touching the global random state."""
    layers: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for width_in, width_out in zip((n_features, *preset.hidden[:-1]), preset.hidden, strict=True):
            layers += [nn.Linear(width_in, width_out), nn.LeakyReLU(preset.negative_slope)]
        layers.append(nn.Linear(preset.hidden[-1], outputs))
    return nn.Sequential(*layers)


def _fall(fraction: float) -> float:
    """Half a cosine from 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * fraction))


def _losses(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    if logits.ndim == 1:
        return nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="none")
    return nn.functional.cross_entropy(logits, y, reduction="none")


def _right(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    chosen = logits > 0 if logits.ndim == 1 else logits.argmax(1)
    return (chosen == (y > 0.5 if logits.ndim == 1 else y)).float()


def logits_of(network: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    """Logits (N,) or (N, classes) of features (N, F), without gradients."""
    network.eval()
    with torch.no_grad():
        return torch.cat([network(chunk).squeeze(1) for chunk in torch.split(x, 10_000)])
