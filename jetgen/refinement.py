"""Jets for `hepflows.refine`: classifier inputs as a module, and the likelihood for fine-tuning."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from hepflows.document import document_of, tuned_document
from hepflows.errors import ConfigError
from hepflows.flow_matching import ContinuousFlow
from jetgen.dataset import make_tensors
from jetgen.generator import JetGenerator
from jetgen.portable import sinh

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from jetgen.dataset import JetTensors
    from jetgen.jets import Jets

_LEAST_PT = 1e-6
_N_SHAPES = 10  # of a jet, beside its slots
_PAIRED = 30  # constituents, bounds the memory
_NEAR = 0.1  # angle of near pairs
_TINY = 1e-8


class JetFeatures(nn.Module):
    """Slots (N, 4 P) of eta, phi, pT and mask, and conditions (N, C), to classifier inputs (N, 4 P + 10 + C).

    A constituent has 5 eta, 5 phi, log10(pT) / 2 + 1 and 1, an empty slot four zeros; then 10 times the relative
    mass, the share of filled slots, 10 times the missing pT, 10 times the width sum pT sqrt(eta^2 + phi^2); six sums
    over pairs of the 30 hardest constituents, without which a perceptron does not find subjets, see `_pair_sums`; and
    the conditions. The slots, which are many, weigh together as much as one other input (`emphasis`).

    Args:
        n_slots: P.
        n_conditions: C.
    """

    emphasis: Tensor

    def __init__(self, n_slots: int, n_conditions: int) -> None:
        super().__init__()
        emphasis = torch.ones(4 * n_slots + _N_SHAPES + n_conditions)
        emphasis[: 4 * n_slots] = (4 * n_slots) ** -0.5
        self.register_buffer("emphasis", emphasis)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        """Inputs of the classifier."""
        slots = x.reshape(x.shape[0], -1, 4)
        eta, phi, pt, mask = slots[:, :, 0], slots[:, :, 1], slots[:, :, 2], slots[:, :, 3]
        log_pt = (pt.clamp_min(_LEAST_PT).log() * (0.5 / math.log(10)) + 1) * mask
        columns = torch.stack([5 * eta, 5 * phi, log_pt, mask], dim=2).flatten(1)
        width = (pt * (eta * eta + phi * phi + 1e-12).sqrt()).sum(1, keepdim=True)
        shapes = [10 * _mass(eta, phi, pt), mask.mean(1, keepdim=True), 10 * (1 - pt.sum(1, keepdim=True)), 10 * width]
        pairs = _pair_sums(*(part[:, :_PAIRED] for part in (eta, phi, pt)))
        return torch.cat([columns, *shapes, pairs, cond], dim=1)


class JetRefinement:
    """Meets `hepflows.refine.adapter.Adapter`."""

    def conditions(self, events: Jets) -> Mapping[str, NDArray[np.floating[Any]]]:
        """Relative masses and multiplicities by name: of generated jets the masses that were asked for.

        They are what an exported file and a chain of latents are given, and differ where the mass is not exact.
        """
        asked = events.mass_condition
        return events.conditions if asked is None else {**events.conditions, "mass": asked}

    def numbers(self, generator: JetGenerator, events: Jets) -> NDArray[np.float32]:
        """Slots (N, 4 P) as the generator's: in falling order of pT, the softest beyond its slots left out."""
        jets = events.hardest(generator.model.n_slots)
        columns = (jets.eta_rel, jets.phi_rel, jets.pt_rel, jets.mask.astype(np.float32))
        return np.stack(columns, axis=2).reshape(len(jets), -1)

    def features(self, generator: JetGenerator) -> JetFeatures:
        """Classifier inputs, see there."""
        return JetFeatures(generator.model.n_slots, len(generator.condition_names))

    def latent_emphasis(self, generator: JetGenerator) -> None:  # noqa: ARG002 - no latent decides more than others
        """None."""
        return

    def fine_tuning(self, generator: JetGenerator, events: Jets, *, device: str) -> JetFineTuning:
        """The network of a copy of the generator, trained by its likelihood, without a mass loss.

        Raises:
            ConfigError: a continuous flow, which is trained by flow matching.
        """
        if isinstance(generator.model.network, ContinuousFlow):
            raise ConfigError(
                "a continuous flow has no likelihood to fine-tune",
                found=f"preset {generator.kind}",
                remedy="refine it by dctr, laser-flow or laser-gan",
            )
        jets = events.hardest(generator.model.n_slots)
        return JetFineTuning(generator, make_tensors(jets, generator.config, device), device=device)


class JetFineTuning:
    """Meets `hepflows.refine.adapter.FineTuning`.

    Args:
        generator: what is trained further; it stays as it is.
        data: jets, split as in the first training.
        device: torch device.
    """

    def __init__(self, generator: JetGenerator, data: JetTensors, *, device: str) -> None:
        self._generator, self._data = generator, data
        self._model = copy.deepcopy(generator.model).to(device)
        self.module = nn.ModuleList([self._model.network])
        if self._model.pt_sum is not None:
            self.module.append(self._model.pt_sum)
        self.training_events: NDArray[np.int64] = data.train.cpu().numpy()
        self.validation_events: NDArray[np.int64] = data.validation.cpu().numpy()

    def losses(self, events: NDArray[np.int64], *, training: bool) -> Tensor:
        """Negative log-likelihoods (B,) in model space; mirrored at random if `training`."""
        jets, conditions = self._data.batch(torch.from_numpy(events))
        features, context = self._model.prepare(jets, conditions, augment=training)
        loss: Tensor = -self._model.network.log_prob(features, context)  # type: ignore[operator]
        if self._model.pt_sum is not None:
            total = jets.pt.sum(1, keepdim=True)
            loss = loss - self._model.pt_sum.log_prob(total, self._model.conditions(conditions))
        return loss

    def generator(
        self, training: Mapping[str, Any] | None = None, provenance: Mapping[str, Any] | None = None
    ) -> JetGenerator:
        """The generator as it is trained now."""
        old = self._generator
        document = tuned_document(document_of(old.document), training or {}, provenance or {})
        device = old.model.conditions.low.device
        return JetGenerator(copy.deepcopy(self._model).to(device), old.config, document)


def _mass(eta: Tensor, phi: Tensor, pt: Tensor) -> Tensor:
    """Relative mass (N, 1) from pair differences, smooth at 0."""
    half_eta = 0.5 * (eta[:, :, None] - eta[:, None, :])
    half_phi = 0.5 * (phi[:, :, None] - phi[:, None, :])
    pairs = 2 * (sinh(half_eta) ** 2 + half_phi.sin() ** 2) * pt[:, :, None] * pt[:, None, :]
    return (pairs.sum(2).sum(1) + 1e-12).sqrt().unsqueeze(1)


def _pair_sums(eta: Tensor, phi: Tensor, pt: Tensor) -> Tensor:
    """Sums over pairs of constituents (N, P) that tell of subjets: log10 of six numbers, (N, 6).

    Energy correlators sum z_i z_j theta_ij^beta for beta of 1/2 and 2, of three constituents in a triangle and of four
    in a square (Larkoski, Salam, Thaler, arXiv:1305.0007; Komiske, Metodiev, Thaler, arXiv:1712.07124), the share of
    near pairs, and the mean distance to the nearest neighbour.
    """
    squares = (eta[:, :, None] - eta[:, None, :]) ** 2 + (phi[:, :, None] - phi[:, None, :]) ** 2
    # the derivative of a root at 0 is none
    theta = (squares + 1e-12).sqrt()
    weights = pt[:, :, None] * pt[:, None, :]
    paths = (theta * pt[:, None, :]) @ theta  # from i over all j to k
    present = (pt > 0).to(pt.dtype)
    others = torch.where((squares > 1e-12) & (present[:, None, :] > 0), squares, torch.ones_like(squares))
    nearest = (pt * others.amin(2).sqrt()).sum(1)
    sums = [theta.sqrt(), squares, theta * paths, paths * paths, (-squares / _NEAR**2).exp()]
    found = torch.stack([*((weights * part).sum((1, 2)) for part in sums), nearest], dim=1)
    return (found + _TINY).log() * (1 / math.log(10))
