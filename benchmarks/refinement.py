"""Refinement on the toys of LaSeR (arXiv 2106.00792): baseline, HMC, LaSeR (GAN and flows) and DCTR, by EMD and JSD.

`laser-flow` trains the second flow by the likelihood of weighted latents, `laser-reverse` by the reverse divergence.
Those in `-events` take the weights of latents from the classifier of events (`pull.source = events`). `hmc` and
`chains-events` are long chains as the paper's; `hmc-events` is a short chain a point from one of some candidates, as in
artefacts, of the step `hmc.step`, and `resampling-events` the choice among these candidates alone.

What is missing is run, and goes on where it was stopped; `show` prints the table with the published numbers, `draw`
makes the picture::

    python -m benchmarks.refinement run --out runs/refinement                     # the paper's number of points
    python -m benchmarks.refinement run --out runs/small --train 20000 --evaluate 20000 --epochs 5 --quick
    python -m benchmarks.refinement show --out runs/refinement
    python -m benchmarks.refinement draw --out runs/refinement                    # -> runs/refinement/toys.png

All methods of a toy share one baseline and one pair of classifiers. The published numbers are of toys with other
parameters and other bins: they are for orientation, and so is the size of a gain.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console

from benchmarks.refinement_figure import draw_toys
from benchmarks.refinement_measures import EMD_BINS, JSD_BINS, compare, histogram
from benchmarks.refinement_toys import REACH, TOYS, PlaneAdapter, Points, baseline, true_points
from hepflows.commands.options import terminal_reporter
from hepflows.density_ratio import DensityRatio
from hepflows.errors import ConfigError, HepflowsError
from hepflows.files import atomic_file
from hepflows.philox import normal_noise
from hepflows.refine.event_ratio import EventWeights
from hepflows.refine.flow_refiner import train_flow
from hepflows.refine.gan_refiner import train_gan
from hepflows.refine.hmc import run_chains
from hepflows.refine.latent import LatentRatio, pull_back
from hepflows.refine.refiner import NetworkRefiner, refined_density
from hepflows.refine.samplers import HmcRefiner
from hepflows.refine.samples import make_samples
from hepflows.refine.settings import read_settings
from hepflows.train.checkpoint import load_checkpoint, save_checkpoint
from hepflows.weights import effective_sample_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.refinement_toys import Floats, PlaneGenerator
    from hepflows.refine.config import RefineConfig
    from hepflows.refine.refiner import LatentWeights

METHODS = (
    *("floor", "baseline", "hmc", "chains-events", "resampling-events", "hmc-events"),
    *("laser-gan", "laser-flow", "laser-events", "laser-reverse", "dctr"),
)
PUBLISHED = {
    "baseline": {"gaussians": (0.28, 0.66), "donuts": (0.23, 0.27), "rings": (0.067, 0.21)},
    "hmc": {"gaussians": (0.22, 0.12), "donuts": (0.06, 0.07), "rings": (0.137, 0.07)},
    "laser-gan": {"gaussians": (0.21, 0.24), "donuts": (0.09, 0.09), "rings": (0.047, 0.08)},
    "dctr": {"gaussians": (0.09, 0.09), "donuts": (0.11, 0.05), "rings": (0.037, 0.04)},
}
"""EMD and JSD of arXiv 2106.00792; its LaSeR is a GAN."""
QUICK = (
    "classifier.epochs=8",
    "pull.classifier.epochs=8",
    "gan.steps=600",
    "flow.training.epochs=5",
    "hmc.burn_in=100",
    "hmc.leapfrog=15",
    "hmc.step=0.02",
)
_CHAINS = ("hmc", "chains-events")
_OF_EVENTS = ("chains-events", "resampling-events", "hmc-events", "laser-events", "laser-reverse")
_TRUTH, _FLOOR, _SAMPLE = 101, 102, 103  # seeds
_TOGETHER = 10_000  # points
_DENSITY = "density.npy"  # beside result.json, for the picture


def main(argv: Sequence[str] | None = None) -> int:
    options = _parse(argv)
    try:
        if options.action == "show":
            sys.stdout.write(table(collect(options.out)))
        elif options.action == "draw":
            draw(options.out)
        else:
            run(options)
    except HepflowsError as error:
        Console(stderr=True).print(f"error: {error}", markup=False, highlight=False)
        return error.exit_code
    return 0


def run(options: argparse.Namespace) -> None:
    """Train, draw and measure what is missing."""
    torch.set_num_threads(1)
    reporter = terminal_reporter()
    # samples of several chains each cover the plane without mixing: R-hat is reported, not judged
    own = ["hmc.largest_r_hat=1e9", "hmc.warn_r_hat=1e9", "hmc.least_ess=0.0", "copies=1", "gan.residual=false"]
    config = read_settings(None, [*own, *(QUICK if options.quick else ()), *(options.set or ())])
    for toy in options.toys:
        folder = options.out / toy
        missing = [m for m in options.methods if not (folder / m / "result.json").exists()]
        if not missing:
            continue
        points = true_points(toy, options.train, seed=1)
        truth = true_points(toy, options.evaluate, seed=_TRUTH)
        generator = baseline(
            points,
            transform=options.baseline,
            blocks=options.blocks,
            epochs=options.epochs,
            seed=1,
            directory=folder / "training",
            reporter=reporter,
        )
        for method in missing:
            began = time.process_time()
            drawn, more = _drawn(method, toy, generator, points, config, options, folder)
            result = {
                "toy": toy,
                "method": method,
                "n_train": options.train,
                "n_evaluate": options.evaluate,
                "baseline": {"transform": options.baseline, "blocks": options.blocks, "epochs": options.epochs},
                "bins": {"emd": EMD_BINS, "jsd": JSD_BINS},
                "config": config.model_dump(mode="json"),
                "cpu_seconds": time.process_time() - began,
                **compare(drawn, truth, reach=REACH),
                **more,
            }
            with atomic_file(folder / method / _DENSITY, force=True) as temporary, temporary.open("wb") as file:
                np.save(file, histogram(drawn, bins=JSD_BINS, reach=REACH))
            _write(folder / method / "result.json", result)
            reporter.message(f"{toy} {method}: EMD {result['emd']:.4f}, JSD {result['jsd']:.4f}")


def _drawn(
    method: str,
    toy: str,
    generator: PlaneGenerator,
    points: Points,
    config: RefineConfig,
    options: argparse.Namespace,
    folder: Path,
) -> tuple[Points, dict[str, Any]]:
    """Points of one method, and figures of it."""
    n = options.evaluate
    if method == "floor":
        return true_points(toy, n, seed=_FLOOR), {}
    if method == "baseline":
        return generator.sample({}, n=n, seed=_SAMPLE), {}
    events, latents = _ratios(generator, points, config, folder)
    if method == "dctr":
        plain = generator.sample({}, n=n, seed=_SAMPLE)
        weights = events.weights(torch.from_numpy(plain.values))
        return Points(plain.values, weights), {"effective_share": effective_sample_size(weights)[0] / n}
    of_latents: LatentWeights = latents
    if method in _OF_EVENTS:
        sampler, adapter = copy.deepcopy(generator.sampling_module()), PlaneAdapter()
        of_latents = EventWeights(sampler, adapter.features(generator), events, latent_dim=2)
    z, more = _refined(method, of_latents, config, n, folder / method)
    return generator.sample({}, n=len(z), seed=0, latents=z), more


def _refined(
    method: str, weights: LatentWeights, config: RefineConfig, n: int, folder: Path
) -> tuple[Floats, dict[str, Any]]:
    """Refined latents (n, 2), and figures of them."""
    reporter, nothing = terminal_reporter(), torch.empty(n, 0)
    if method in _CHAINS:
        chains = config.hmc.chains
        chain = config.hmc.model_copy(update={"draws": max(4, -(-n // chains))})
        start = torch.from_numpy(normal_noise(_SAMPLE, 0, chains, 2))
        density = refined_density(weights.requires_grad_(requires_grad=False), torch.empty(chains, 0))
        found = run_chains(density, start, chain, seed=1, reporter=reporter)
        return found.draws.reshape(-1, 2)[:n], found.summary()
    refiner: HmcRefiner | NetworkRefiner
    if method in ("resampling-events", "hmc-events"):
        moves = {"transitions": 0} if method == "resampling-events" else {}
        refiner = HmcRefiner(weights, config.hmc.model_copy(update=moves), step=config.hmc.step)
    elif method == "laser-gan":
        gan = train_gan(weights, nothing[:1], config.gan, seed=1, reporter=reporter)
        refiner = NetworkRefiner(gan, gan.noise_dim)
    else:
        settings = config.flow.model_copy(update={"objective": "reverse"} if method == "laser-reverse" else {})
        flow, _ = train_flow(weights, nothing[:1], settings, seed=1, directory=folder, resume=True, reporter=reporter)
        refiner = NetworkRefiner(flow, 2)
    parts = [
        refiner.draw(nothing[first : first + _TOGETHER], seed=_SAMPLE, first_event=first)
        for first in range(0, n, _TOGETHER)
    ]
    return torch.cat(parts).numpy(), {}


def _ratios(
    generator: PlaneGenerator, points: Points, config: RefineConfig, folder: Path
) -> tuple[DensityRatio, LatentRatio]:
    """Weights of points and of latents; fitted once a toy and kept."""
    path = folder / "ratios.safetensors"
    settings = config.model_dump(mode="json", include={"seed", "copies", "classifier", "pull"})
    events = DensityRatio(2, config.classifier.hidden)
    latents = LatentRatio(2, 0, config.pull.classifier.hidden)
    if not path.exists():
        drawing: Any = generator  # a part of a generator is enough here
        samples = make_samples(drawing, points, PlaneAdapter(), copies=config.copies, seed=2)
        pulled = pull_back(samples, config.classifier, config.pull, seed=config.seed)
        events, latents = pulled.events[-1].model, pulled.ratio
        modules = {"events": events, "latents": latents}
        tensors = {f"{head}/{name}": t for head, module in modules.items() for name, t in module.state_dict().items()}
        save_checkpoint(path, tensors, {**pulled.summary(), "settings": settings})
        return events, latents
    tensors, state = load_checkpoint(path)
    if state.get("settings", settings) != settings:  # older files do not say
        raise ConfigError("these classifiers have other settings", where=path, remedy="choose another --out")
    for head, module in (("events/", events), ("latents/", latents)):
        module.load_state_dict({n.removeprefix(head): t for n, t in tensors.items() if n.startswith(head)})
    return events.eval(), latents.eval()


def collect(out: Path) -> dict[str, dict[str, Any]]:
    """Everything measured so far: method -> toy -> result."""
    paths = {(m, toy): out / toy / m / "result.json" for m in METHODS for toy in TOYS}
    found: dict[str, dict[str, Any]] = {}
    for (method, toy), path in paths.items():
        if path.exists():
            found.setdefault(method, {})[toy] = json.loads(path.read_text(encoding="utf-8"))
    return found


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: EMD and JSD of each toy, the published numbers in brackets."""
    lines = ["| method | " + " | ".join(f"{toy}: EMD | JSD" for toy in TOYS) + " |", "|---" * (1 + 2 * len(TOYS)) + "|"]
    for method, toys in found.items():
        cells = []
        for toy in TOYS:
            published = PUBLISHED.get(method, {}).get(toy)
            for index, key in enumerate(("emd", "jsd")):
                own = f"{toys[toy][key]:.4f}" if toy in toys else "-"
                cells.append(own + (f" ({published[index]:g})" if published else ""))
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(out: Path) -> None:
    """Write ``toys.png``, the densities of all that was measured.

    Raises:
        ConfigError: nothing was measured yet.
    """
    paths = {toy: {m: out / toy / m / _DENSITY for m in METHODS} for toy in TOYS}
    densities = {
        toy: {"truth" if m == "floor" else m: np.load(path) for m, path in found.items() if path.exists()}
        for toy, found in paths.items()
    }
    measured = {toy: found for toy, found in densities.items() if found}
    if not measured:
        raise ConfigError("nothing to draw", where=out, remedy="measure first: run")
    draw_toys(measured, out / "toys.png", reach=REACH)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with atomic_file(path, force=True) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "show", "draw"))
    parser.add_argument("--out", type=Path, required=True, help="directory of all results")
    parser.add_argument("--toys", type=_chosen(TOYS), default=TOYS, help="default: all")
    parser.add_argument("--methods", type=_chosen(METHODS), default=METHODS, help="default: all")
    parser.add_argument("--train", type=int, default=480_000, help="training points (default: 480000)")
    parser.add_argument("--evaluate", type=int, default=200_000, help="points compared (default: 200000)")
    parser.add_argument("--epochs", type=int, default=10, help="of the baseline (default: 10)")
    parser.add_argument("--baseline", choices=("affine", "spline"), default="affine", help="couplings of the baseline")
    parser.add_argument("--blocks", type=int, default=6, help="their number (default: 6)")
    parser.add_argument("--quick", action="store_true", help="short trainings and chains")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="setting of the refinement")
    return parser.parse_args(argv)


def _chosen(valid: tuple[str, ...]) -> Any:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        if unknown := set(names) - set(valid):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: choose from {', '.join(valid)}")
        return names

    return parse


if __name__ == "__main__":
    raise SystemExit(main())
