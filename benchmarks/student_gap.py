"""Where a student falls behind its teacher: behind which block, in which layer, at which energies, in which direction.

python -m benchmarks.student_gap TEACHER STUDENT SHOWERS --read part=[0.8,1.0]

Data: x -> teacher -> z -> student -> x' (L_x of the distillation), x' beside x. Noise: z -> student -> x -> teacher
-> z', z' beside z, at the showers' own conditions.
Log-likelihoods are exact for both and of the same dequantised showers.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console

import calofast as cf
from calofast.condition_values import conditions_of
from calofast.generator import CaloGenerator
from calofast.reading_config import ReadingConfig
from hepflows.config import build, with_overrides
from hepflows.errors import ArtefactError, HepflowsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from hepflows.flow import Trace

EDGES_GEV = (1.0, 5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0)
_CHUNK = 500


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("student", type=Path)
    parser.add_argument("showers", type=Path)
    parser.add_argument("--read", action="append", metavar="KEY=VALUE", help="which showers, as in hepflows train")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the numbers there")
    options = parser.parse_args(argv)
    try:
        reading = build(ReadingConfig, with_overrides({}, options.read or ()), where="--read")
        showers = cf.read_showers(options.showers, **reading.arguments())
        found = gap(CaloGenerator.load(options.teacher), CaloGenerator.load(options.student), showers, options.seed)
    except HepflowsError as error:
        Console(stderr=True).print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        return error.exit_code
    print(text(found))
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


@torch.no_grad()
def gap(teacher: CaloGenerator, student: CaloGenerator, showers: cf.Showers, seed: int) -> dict[str, Any]:
    """Every figure.

    Raises:
        ArtefactError: the two do not belong together.
    """
    if (teacher.kind, student.kind) != ("teacher", "student"):
        raise ArtefactError(
            "not a teacher and a student", expected="teacher, student", found=f"{teacher.kind}, {student.kind}"
        )
    torch.manual_seed(seed)
    first, second = teacher.model.eval(), student.model.eval()
    voxels = torch.from_numpy(showers.voxels_mev)
    conditions = torch.from_numpy(teacher.condition_matrix(conditions_of(showers)))
    blocks: list[dict[str, Tensor]] = []
    ends: dict[str, list[Tensor]] = {"data": [], "noise": []}
    for v, c in zip(voxels.split(_CHUNK), conditions.split(_CHUNK), strict=True):
        x, context = first.prepare_voxels(v, c)
        guide = first.shower_flow.trace_forward(x, context)
        follower = second.shower_flow.trace_inverse(guide.states[-1], context)
        z = torch.randn_like(x)
        made = second.shower_flow.trace_inverse(z, context)
        checked = first.shower_flow.trace_forward(made.states[0], context)
        blocks.append({"data": _behind(follower, guide), "noise": _behind(made, checked)})
        ends["data"].append((follower.states[0] - x).square())
        ends["noise"].append((checked.states[-1] - z).square())
    squares = {name: torch.cat(parts) for name, parts in ends.items()}
    behind = teacher.log_prob(showers, seed=seed).voxels - student.log_prob(showers, seed=seed).voxels
    return {
        "blocks": {
            name: torch.stack([part[name] for part in blocks]).mean(0).sqrt().tolist() for name in ("data", "noise")
        },
        "layers": {
            name: [float(part.mean().sqrt()) for part in square.split(first.voxels.layer_sizes, dim=1)]
            for name, square in squares.items()
        },
        "energies": _by_energy(showers.incident_energy_gev, squares, behind),
        "likelihood": {"mean": float(behind.mean()), "error": float(behind.std() / np.sqrt(len(behind)))},
    }


def _behind(a: Trace, b: Trace) -> Tensor:
    """Mean squared difference of the states from the data side to the latent side, shape (blocks + 1,)."""
    return torch.stack([(one - two).square().mean() for one, two in zip(a.states, b.states, strict=True)])


def _by_energy(
    energies: NDArray[np.float32], squares: dict[str, Tensor], behind: NDArray[np.float64]
) -> list[dict[str, float]]:
    found = []
    for low, high in pairwise(EDGES_GEV):
        rows = np.flatnonzero((energies >= low) & (energies < high))
        if len(rows) > 1:
            rms = {name: float(square[rows].mean().sqrt()) for name, square in squares.items()}
            error = float(behind[rows].std() / np.sqrt(len(rows)))
            likelihood = {"likelihood": float(behind[rows].mean()), "error": error}
            found.append({"low_gev": low, "high_gev": high, "n": float(len(rows)), **rms, **likelihood})
    return found


def text(found: dict[str, Any]) -> str:
    """Markdown tables."""
    lines = ["| rms difference of states | data | noise |", "|---|---|---|"]
    count = len(found["blocks"]["data"])
    for number, (data, noise) in enumerate(zip(found["blocks"]["data"], found["blocks"]["noise"], strict=True)):
        name = "data" if number == 0 else "latent" if number == count - 1 else f"behind block {number}"
        lines.append(f"| {name} | {data:.4f} | {noise:.4f} |")
    for layer, (data, noise) in enumerate(zip(found["layers"]["data"], found["layers"]["noise"], strict=True)):
        lines.append(f"| at the end, layer {layer} | {data:.4f} | {noise:.4f} |")
    lines += [
        "",
        "| E_inc [GeV] | showers | data | noise | log-likelihood behind the teacher |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['low_gev']:g}-{row['high_gev']:g} | {row['n']:.0f} | {row['data']:.4f} | {row['noise']:.4f} "
        f"| {row['likelihood']:.2f} ± {row['error']:.2f} |"
        for row in found["energies"]
    ]
    whole = found["likelihood"]
    lines.append(f"| all | | | | {whole['mean']:.2f} ± {whole['error']:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
