"""M-flows against ambient flows: a Gaussian on a circle, and the Lorenz attractor (arXiv:2003.13913).

Circle: about (1, -1) in two dimensions, the angle normal with a spread of 45 degrees, the radius with mean 1 and spread
0.01, as in the paper's code. Lorenz: the system with sigma = 10,
rho = 28, beta = 8/3, integrated by Runge-Kutta in steps of 0.01; points of one long trajectory, in standard deviations;
the manifold has two dimensions. Measured are the mean distance of generated points from the manifold (exact for the
circle; for the attractor to the nearest of many points of another trajectory), and the error of the density: for the
circle the mean of ``|log p - log p_true|`` along it (the ambient density is integrated across the circle by its own
width), for the attractor the Jensen-Shannon divergence of generated points in cells of the three pairs of coordinates::

    python -m benchmarks.manifold run --out runs/manifold/default
    python -m benchmarks.manifold run --out runs/manifold/uneven --evenness 0 --methods m_flow
    python -m benchmarks.manifold show --out runs/manifold          # of all directories in it
    python -m benchmarks.manifold draw --out runs/manifold/default
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console

from benchmarks.manifold_sets import CIRCLE, attractor_errors, circle, circle_errors, lorenz
from hepflows.autoregressive_flow import autoregressive_flow
from hepflows.commands.options import terminal_reporter
from hepflows.errors import ConfigError, HepflowsError
from hepflows.feature_table import Column, FeatureTable
from hepflows.files import atomic_file
from hepflows.manifold.artefact import Manifold
from hepflows.manifold.config import ManifoldConfig
from hepflows.manifold.fitting import fit_manifold
from hepflows.scaling import Scaling
from hepflows.train.loop import fit
from hepflows.train.objectives import MaximumLikelihood
from hepflows.train.seeding import seeded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Points = NDArray[np.float64]
    Density = Callable[[Points], Points]

METHODS = ("ambient", "m_flow")
SETTINGS = {"points": 10_000, "test": 10_000, "epochs": 50, "blocks": 6, "width": 64, "evenness": 0.01, "seed": 1}
"""Options that decide the result, and their defaults."""
SETS: dict[str, tuple[Callable[[int, int], Points], int]] = {"circle": (circle, 1), "lorenz": (lorenz, 2)}


def main(argv: Sequence[str] | None = None) -> int:
    options = _parse(argv)
    try:
        if options.action == "show":
            sys.stdout.write(table(options.out))
        elif options.action == "draw":
            draw(options.out)
        else:
            run(options)
    except HepflowsError as error:
        Console(stderr=True).print(f"error: {error}", markup=False, highlight=False)
        return error.exit_code
    return 0


def run(options: argparse.Namespace) -> None:
    """Train and measure what is missing."""
    torch.set_num_threads(1)
    for name in options.sets:
        make, dimensions = SETS[name]
        points = make(options.points, options.seed)
        for method in options.methods:
            train = _manifold if method == "m_flow" else _ambient
            path = options.out / name / method / "result.json"
            settings = {key: getattr(options, key) for key in SETTINGS}
            if path.exists():
                if json.loads(path.read_text(encoding="utf-8"))["settings"] != settings:
                    raise ConfigError("this result has other settings", where=path, remedy="choose another --out")
                continue
            generated, density = train(points, dimensions, options, path.parent)
            if name == "circle":
                measured = circle_errors(generated, density, ambient=method == "ambient")
            else:
                measured = attractor_errors(generated)
            _write(path, {"set": name, "method": method, "settings": settings, **measured})
            np.save(path.with_name("generated.npy"), generated.astype(np.float32))


def _manifold(points: Points, dimensions: int, options: argparse.Namespace, directory: Path) -> tuple[Points, Density]:
    config = ManifoldConfig.model_validate(
        {
            "dimensions": dimensions,
            "outer": {"blocks": options.blocks, "width": options.width},
            "inner": {"blocks": 2, "hidden": (options.width,) * 2},
            "manifold_training": _schedule(options),
            "density_training": _schedule(options),
            "seed": options.seed,
            "evenness": options.evenness,
        }
    )
    columns = tuple(Column(name=f"x{k}") for k in range(points.shape[1]))
    trained = fit_manifold(FeatureTable(features=columns, values=points), config)
    Manifold.save(trained, directory, force=True)

    def density(x: Points) -> Points:
        found = trained.score(FeatureTable(features=columns, values=x)).log_prob
        if found is None:
            raise TypeError("the density was not computed")
        return found

    return trained.sample(np.empty((options.test, 0)), seed=1), density


def _ambient(points: Points, _: int, options: argparse.Namespace, __: Path) -> tuple[Points, Density]:
    """A flow of about the same size in all dimensions, with the same schedule."""
    config = ManifoldConfig.model_validate({"dimensions": 1, "manifold_training": _schedule(options)})
    network = config.inner.model_copy(update={"blocks": options.blocks, "hidden": (options.width,) * 2})
    scaling = Scaling([False] * points.shape[1]).double()
    scaling.fit(torch.from_numpy(points))
    with seeded(options.seed), torch.no_grad():
        flow = autoregressive_flow(points.shape[1], 0, network)
        y = scaling(torch.from_numpy(points))[0].float()
    held_out = len(y) // 10
    likelihood = MaximumLikelihood(flow, lambda index: (y[held_out:][index], None), lambda: (y[:held_out], None))
    settings = config.manifold_training.model_copy(update={"epochs": 2 * options.epochs})
    title = "ambient flow"
    fit(flow, likelihood, len(y) - held_out, settings, seed=1, title=title, reporter=terminal_reporter())
    flow = flow.double()

    def density(x: Points) -> Points:
        with torch.no_grad():
            scaled, log_det = scaling(torch.from_numpy(x))
            found: Points = (flow.log_prob(scaled) + log_det).numpy()
        return found

    with torch.no_grad():
        noise = torch.randn(options.test, y.shape[1], generator=torch.Generator().manual_seed(1)).double()
        return scaling.inverse(flow.sample(noise)).numpy(), density


def table(out: Path) -> str:
    """Markdown of everything measured so far, with the settings that are not the default."""
    lines = ["| set | method | distance from the manifold | density error |", "|---|---|---|---|"]
    rows = []
    for path in out.rglob("result.json"):
        entry = json.loads(path.read_text(encoding="utf-8"))
        changed = [
            f"--{k} {entry['settings'][k]:g}" for k, default in SETTINGS.items() if entry["settings"][k] != default
        ]
        name = "flow in all dimensions" if entry["method"] == "ambient" else "M-flow"
        label = f"{name}, `{' '.join(changed)}`" if changed else name
        rows.append((entry["set"], METHODS.index(entry["method"]), len(changed), label, entry))
    for name, _, _, label, entry in sorted(rows, key=lambda row: row[:4]):
        lines.append(f"| {name} | {label} | {entry['distance']:.4f} | {entry['density_error']:.3f} |")
    return "\n".join(lines) + "\n"


def draw(out: Path) -> None:
    """Generated points of both methods beside the true ones."""
    from matplotlib.figure import Figure

    names = [name for name in SETS if (out / name).is_dir()]
    figure = Figure(figsize=(10, 3.4 * len(names)), layout="constrained")
    for row, name in zip(figure.subplots(len(names), 3, squeeze=False), names, strict=True):
        samples = {"true": SETS[name][0](5000, 99)}
        samples |= {path.parent.name: np.load(path) for path in sorted((out / name).glob("*/generated.npy"))}
        for axes, (title, points) in zip(row, samples.items(), strict=False):
            axes.plot(points[:5000, 0], points[:5000, -1], ".", markersize=1.2)
            axes.set(title=f"{name}, {title.replace('_', '-')}", aspect="equal")
            if name == "circle":
                axes.set(xlim=(CIRCLE[0] - 1.4, CIRCLE[0] + 1.4), ylim=(CIRCLE[1] - 1.4, CIRCLE[1] + 1.4))
    with atomic_file(out / "manifold.png", force=True) as temporary:
        figure.savefig(temporary, dpi=130, format="png")


def _schedule(options: argparse.Namespace) -> dict[str, Any]:
    return {"epochs": options.epochs, "batch_size": 100, "learning_rate": 2e-3, "schedule": "cosine"}


def _write(path: Path, content: dict[str, Any]) -> None:
    with atomic_file(path, force=True) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "show", "draw"))
    parser.add_argument("--out", type=Path, required=True, help="directory of all results")
    parser.add_argument("--sets", type=lambda text: tuple(text.split(",")), default=tuple(SETS))
    parser.add_argument("--methods", type=lambda text: tuple(text.split(",")), default=METHODS)
    parser.add_argument("--points", type=int, help="training points (default: 10000)")
    parser.add_argument("--test", type=int, help="generated points (default: 10000)")
    parser.add_argument("--epochs", type=int, help="of each phase; the ambient flow gets both (default: 50)")
    parser.add_argument("--blocks", type=int)
    parser.add_argument("--width", type=int)
    parser.add_argument("--evenness", type=float, help="see ManifoldConfig (default: 0.01)")
    parser.add_argument("--seed", type=int)
    parser.set_defaults(**SETTINGS)
    options = parser.parse_args(argv)
    for given, known in ((options.sets, SETS), (options.methods, METHODS)):
        if unknown := set(given) - set(known):
            parser.error(f"{', '.join(sorted(unknown))} is not one of {', '.join(known)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
