"""A frozen jet tagger whose activations measure how alike two samples of jets are.

The network tells gluon, light-quark and top jets apart. What its last hidden layer sees of a jet is summarised in 32
numbers; the Frechet distance between two samples of them is small only if many correlations between constituents
agree. It plays the part of the reference ParticleNet in FPND (arXiv 2106.11535), whose numbers it must not be compared
with. `data/tagger.md` says what it was trained on; ``benchmarks/train_tagger.py`` does it again.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import nn

from hepflows.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from jetgen.jets import Jets

CLASSES: Final = ("g", "q", "t")
MAX_CONSTITUENTS: Final = 30
"""The tagger knows the hardest 30 constituents; softer ones are left out."""
N_ACTIVATIONS: Final = 32

_WIDTH: Final = 32
_ROUNDS: Final = 2
_CHUNK: Final = 2**18  # pairs of constituents treated at once
_TINY: Final = 1e-8


class Tagger(nn.Module):
    """Messages between all pairs of constituents, then pT-weighted and plain means: no order of constituents.

    Attributes:
        mean: mean of each activation over the training jets, shape (32,).
        deviation: its standard deviation, likewise.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(4, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, _WIDTH))
        self.rounds = nn.ModuleList(_Messages() for _ in range(_ROUNDS))
        self.hidden = nn.Sequential(nn.Linear(2 * _WIDTH + 2, 64), nn.ReLU(), nn.Linear(64, N_ACTIVATIONS))
        self.classes = nn.Linear(N_ACTIVATIONS, len(CLASSES))
        self.register_buffer("mean", torch.zeros(N_ACTIVATIONS))
        self.register_buffer("deviation", torch.ones(N_ACTIVATIONS))

    def activations(self, eta: Tensor, phi: Tensor, pt: Tensor, mask: Tensor) -> Tensor:
        """Output of the last hidden layer, before its activation function, shape (B, 32).

        Args:
            eta: pseudorapidities relative to the jet, shape (B, P).
            phi: azimuths in rad, likewise.
            pt: pT over the jet's pT, likewise.
            mask: filled slots, bool, likewise.
        """
        present = mask.to(pt.dtype)
        log_pt = (torch.log(pt.clamp_min(_TINY)) + 4.5) / 1.5
        radius = (eta.square() + phi.square() + _TINY).sqrt()
        x = self.embed(torch.stack([5 * eta, 5 * phi, log_pt, 5 * radius], dim=2))
        d_eta, d_phi = eta[:, :, None] - eta[:, None], phi[:, :, None] - phi[:, None]
        log_distance = 0.5 * torch.log(d_eta.square() + d_phi.square() + 1e-6) + 2
        pairs = torch.stack([5 * d_eta, 5 * d_phi, log_distance], dim=3)
        count = present.sum(1, keepdim=True)
        share = pt * present / (pt * present).sum(1, keepdim=True).clamp_min(_TINY)
        for messages in self.rounds:
            x = messages(x, pairs, present / count, share)
        total = (pt * present).sum(1, keepdim=True)
        pooled = [torch.einsum("bp,bpf->bf", weight, x) for weight in (present / count, share)]
        out: Tensor = self.hidden(torch.cat([*pooled, total, count / 30], dim=1))
        return out

    def forward(self, eta: Tensor, phi: Tensor, pt: Tensor, mask: Tensor) -> Tensor:
        """Logits of the classes g, q, t, shape (B, 3)."""
        out: Tensor = self.classes(torch.relu(self.activations(eta, phi, pt, mask)))
        return out


class _Messages(nn.Module):
    """x_i + V relu(sum_j w_j relu(A x_i + B x_j + C g_ij)) with the pT share and 1/n as weights w_j."""

    def __init__(self) -> None:
        super().__init__()
        self.receiver = nn.Linear(_WIDTH, _WIDTH)
        self.sender = nn.Linear(_WIDTH, _WIDTH, bias=False)
        self.geometry = nn.Linear(3, _WIDTH, bias=False)
        self.update = nn.Sequential(
            nn.LayerNorm(3 * _WIDTH), nn.Linear(3 * _WIDTH, 2 * _WIDTH), nn.ReLU(), nn.Linear(2 * _WIDTH, _WIDTH)
        )

    def forward(self, x: Tensor, pairs: Tensor, even: Tensor, share: Tensor) -> Tensor:
        sent = torch.relu(self.receiver(x)[:, :, None] + self.sender(x)[:, None] + self.geometry(pairs))
        weights = torch.stack([even, share], dim=1)  # (B, 2, P)
        received = torch.matmul(weights[:, None], sent).flatten(2)  # (B, P, 2 W)
        out: Tensor = x + self.update(torch.cat([x, received], dim=2))
        return out


def tagger_path() -> Path:
    """The frozen weights that the package brings."""
    return Path(__file__).parent / "data" / "tagger.safetensors"


@cache
def frozen_tagger() -> Tagger:
    """The tagger with its frozen weights, for use on the CPU."""
    from safetensors.torch import load_file

    tagger = Tagger()
    tagger.load_state_dict(load_file(tagger_path()))
    return tagger.eval().requires_grad_(requires_grad=False)


def tagger_provenance() -> dict[str, Any]:
    """What the frozen weights were trained on and how well they do, from the file's header."""
    from safetensors import safe_open

    with safe_open(tagger_path(), framework="np") as file:
        provenance: dict[str, Any] = json.loads(file.metadata()["provenance"])
    return provenance


def tagger_activations(jets: Jets, *, tagger: Tagger | None = None) -> NDArray[np.float64]:
    """Activations of the frozen tagger, each scaled to mean 0 and deviation 1 over its training jets, shape (N, 32).

    Args:
        jets: N jets; of more than 30 constituents the hardest 30 count.
        tagger: another tagger than the frozen one.

    Raises:
        DataError: no jets.
    """
    if len(jets) == 0:
        raise DataError("no jets", expected="at least one jet")
    network = frozen_tagger() if tagger is None else tagger
    jets = jets.hardest(min(MAX_CONSTITUENTS, jets.n_slots))
    step = max(1, _CHUNK // jets.n_slots**2)
    found = np.empty((len(jets), N_ACTIVATIONS))
    arrays = [torch.from_numpy(a) for a in (jets.eta_rel, jets.phi_rel, jets.pt_rel, jets.mask)]
    with torch.no_grad():
        for start in range(0, len(jets), step):
            raw = network.activations(*(a[start : start + step] for a in arrays))
            found[start : start + step] = ((raw - network.mean) / network.deviation).double().numpy()
    return found
