"""Train the frozen jet tagger of `jetgen.tagger` again.

HEPFLOWS_DATA names a directory with jets/g.hdf5, q.hdf5 and t.hdf5 (JetNet layout); the last 20 % of each file is never
looked at::

    HEPFLOWS_DATA=/data python benchmarks/train_tagger.py --out tagger.safetensors

Half an hour on one core; the result depends on the machine's rounding. Replacing the packaged weights changes every
`frechet_tagger`: numbers of different weights must not be compared.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional

import jetgen
from hepflows.errors import ConfigError
from jetgen.tagger import CLASSES, Tagger, tagger_activations

if TYPE_CHECKING:
    from torch import Tensor

    from jetgen.jets import Jets

SEED = 20260102
BATCH = 64
LEARNING_RATE = 2e-3
HELD_OUT = 20  # every 20th training jet chooses the epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("tagger.safetensors"))
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    samples = load()
    tagger, history = train(samples, epochs=arguments.epochs)
    provenance = {
        "classes": list(CLASSES),
        "jets_per_class": [len(jets) for jets in samples],
        "part": "0:0.8 of each file",
        "data": [jets.provenance.get("file", "") for jets in samples],
        "seed": SEED,
        "epochs": arguments.epochs,
        "batch": BATCH,
        "learning_rate": LEARNING_RATE,
        "torch": torch.__version__.split("+")[0],
        **history,
    }
    save_file(tagger.state_dict(), arguments.out, metadata={"provenance": json.dumps(provenance)})
    print(json.dumps(provenance, indent=1))


def load() -> list[Jets]:
    if "HEPFLOWS_DATA" not in os.environ:
        raise ConfigError("HEPFLOWS_DATA is not set", expected="a directory with jets/g.hdf5, q.hdf5, t.hdf5")
    folder = Path(os.environ["HEPFLOWS_DATA"]) / "jets"
    return [jetgen.read_jets(folder / f"{kind}.hdf5", part=(0.0, 0.8)) for kind in CLASSES]


def train(samples: list[Jets], *, epochs: int) -> tuple[Tagger, dict[str, Any]]:
    """Cross entropy, AdamW with one cycle, jets turned and mirrored at random; the best epoch is kept."""
    columns = ("eta_rel", "phi_rel", "pt_rel", "mask")
    data = [torch.from_numpy(np.concatenate([getattr(jets, name) for jets in samples])) for name in columns]
    label = torch.repeat_interleave(torch.arange(len(samples)), torch.tensor([len(jets) for jets in samples]))
    index = torch.arange(len(label))
    held, rows = index[index % HELD_OUT == 0], index[index % HELD_OUT != 0]
    random = torch.Generator().manual_seed(SEED)
    torch.manual_seed(SEED)
    tagger = Tagger()
    optimiser = torch.optim.AdamW(tagger.parameters(), weight_decay=1e-2)
    steps = math.ceil(len(rows) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=epochs * steps)
    best: tuple[float, dict[str, Tensor]] = (math.inf, {})
    history: dict[str, Any] = {}
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        tagger.train()
        total = 0.0
        for batch in torch.split(rows[torch.randperm(len(rows), generator=random)], BATCH):
            eta, phi, pt, mask = (column[batch] for column in data)
            eta, phi = turned(eta, phi, random)
            loss = functional.cross_entropy(tagger(eta, phi, pt, mask), label[batch])
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(tagger.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(batch)
        held_loss, accuracy = evaluate(tagger, [column[held] for column in data], label[held])
        print(
            f"epoch {epoch}: loss {total / len(rows):.4f}, held out {held_loss:.4f}, "
            f"accuracy {accuracy:.4f}, {time.perf_counter() - start:.0f} s",
            flush=True,
        )
        if held_loss < best[0]:
            best = held_loss, {name: tensor.clone() for name, tensor in tagger.state_dict().items()}
            history = {"best_epoch": epoch, "held_out_loss": held_loss, "held_out_accuracy": accuracy}
    tagger.load_state_dict(best[1])
    tagger.eval()
    raw = np.concatenate([tagger_activations(jets, tagger=tagger) for jets in samples])
    tagger.mean.copy_(torch.from_numpy(raw.mean(0)))
    tagger.deviation.copy_(torch.from_numpy(raw.std(0)))
    return tagger, history


def turned(eta: Tensor, phi: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Jets turned about their axis by any angle and mirrored with probability 1/2."""
    angle = 2 * math.pi * torch.rand(len(eta), 1, generator=random)
    sign = 1 - 2 * torch.randint(2, (len(eta), 1), generator=random)
    cos, sin = angle.cos(), angle.sin()
    return cos * eta - sin * phi, sign * (sin * eta + cos * phi)


def evaluate(tagger: Tagger, data: list[Tensor], label: Tensor) -> tuple[float, float]:
    """Cross entropy and share of right answers."""
    tagger.eval()
    with torch.no_grad():
        chunks = zip(*(torch.split(column, 1000) for column in data), strict=True)
        logits = torch.cat([tagger(*chunk) for chunk in chunks])
    right = (logits.argmax(1) == label).double().mean()
    return float(functional.cross_entropy(logits, label)), float(right)


if __name__ == "__main__":
    main()
