"""What the shower table trains: particles, recipes, and the generators that come out of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

PARTICLES: Final[Mapping[str, str]] = {"eplus": "e+", "gamma": "gamma", "piplus": "pi+"}
"""File of a particle's showers (without .h5) -> what the particle is called."""

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "maf": ("teacher", "student"),
    "coupling": ("coupling",),
    "published": ("teacher", "student"),
}
"""Recipe -> generators that it trains."""

MODEL: Final = "model"
"""Stands for a recipe where a generator comes with the package."""

_FLOW_I: Final = {"alpha": 1e-9, "training": {"epochs": 100, "batch_size": 250, "learning_rate": 2e-3}}
_DATA: Final = {"energy_range_gev": [1.0, 100.0], "validation_fraction": 0.05}
_MIRRORS: Final = {"mirrors": ["mirror_x", "mirror_y"]}

RECIPES: Final[Mapping[str, Mapping[str, Any]]] = {
    "maf": {
        "data": _DATA,
        "preprocessing": _MIRRORS,
        "layer_energies": _FLOW_I,
        "teacher": {
            "hidden": [256, 256],
            "spline": {"bound": 8.0},
            "head": {"blocks": 8, "width": 96},
            "training": {"epochs": 60, "learning_rate": 2e-3, "matmul_precision": "bfloat16"},
        },
        "student": {
            "hidden": [256, 256],
            "training": {"epochs": 1, "optimizer": "adamw", "weight_decay": 1e-4, "learning_rate": 1e-3},
            "likelihood": {"epochs": 15, "learning_rate": 3e-4},
        },
    },
    "coupling": {
        "architecture": "coupling",
        "data": _DATA,
        "preprocessing": _MIRRORS,
        "layer_energies": _FLOW_I,
        "coupling": {
            "blocks": 8,
            "width": 96,
            "training": {"epochs": 60, "learning_rate": 2e-3, "matmul_precision": "bfloat16"},
        },
    },
    # arXiv:2106.05285 and arXiv:2110.11377: logit, degrees counted one by one, no context in the preprocessing
    "published": {
        "data": _DATA,
        "preprocessing": {"voxels": "logit", "standardise": False},
        "layer_energies": {"training": {"epochs": 75, "batch_size": 200, "learning_rate": 1e-4}},
        "teacher": {
            "hidden": [378, 378],
            "degrees": "sequential",
            "training": {
                "epochs": 60,
                "batch_size": 200,
                "learning_rate": 1e-4,
                "schedule": "cosine",
                "matmul_precision": "bfloat16",
            },
        },
        "student": {
            "hidden": [378, 378],
            "training": {"epochs": 20, "batch_size": 200, "learning_rate": 1e-4, "schedule": "cosine"},
        },
        "sampling": {"limit_voxels": False},
    },
}
"""Configurations of `calofast`, without the file's part."""


@dataclass(frozen=True)
class Variant:
    """A change to a recipe.

    Attributes:
        name: of its directory.
        change: in words.
        settings: entries of the configuration that differ.
        seeds: one training each.
    """

    name: str
    change: str
    settings: tuple[str, ...]
    seeds: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class Ablation:
    """One change at a time.

    Attributes:
        recipe: what is changed.
        kind: the generator that is measured.
        common: entries of the configuration that all variants share.
        variants: the recipe itself first.
    """

    recipe: str
    kind: str
    common: tuple[str, ...]
    variants: tuple[Variant, ...]


ABLATIONS: Final[Mapping[str, Ablation]] = {
    "preprocessing": Ablation(
        "coupling",
        "coupling",
        ("coupling.training.epochs=20", "layer_energies.training.epochs=50"),
        (
            Variant("recipe", "as in the recipe", (), (1, 2)),
            Variant("no_mirrors", "no mirrored showers", ("preprocessing.mirrors=[]",), (1, 2)),
            Variant("random_halves", "voxels divided at random, never like a chessboard", ("coupling.halves=random",)),
            Variant("no_neighbours", "no terms of the neighbours", ("coupling.neighbours=0",), (1, 2)),
            Variant("four_neighbours", "4 neighbours instead of 16", ("coupling.neighbours=4",)),
            Variant("not_standardised", "voxels not standardised", ("preprocessing.standardise=false",), (1, 2)),
            Variant("low_threshold", "threshold 1 keV instead of 10 keV", ("preprocessing.threshold_mev=0.001",)),
            Variant("dark_near", "dark voxels nearer: -1.5 instead of -2.5", ("preprocessing.dark_mean=-1.5",)),
            Variant("dark_far", "dark voxels farther: -4", ("preprocessing.dark_mean=-4.0",)),
            Variant("dark_narrow", "dark voxels half as wide: 0.2", ("preprocessing.dark_width=0.2",)),
            Variant("dark_wide", "dark voxels twice as wide: 0.8", ("preprocessing.dark_width=0.8",)),
            Variant(
                "logit", "logit of layer shares", ("preprocessing.voxels=logit", "preprocessing.standardise=false")
            ),
            Variant(
                "logit_noise",
                "logit of layer shares, a tenth of the noise",
                ("preprocessing.voxels=logit", "preprocessing.standardise=false", "preprocessing.noise_mev=1e-4"),
            ),
            Variant("no_spectrum", "spectrum of the voxels not mapped", ("sampling.map_spectrum=false",)),
            Variant("no_limits", "voxels not kept in the range of the data", ("sampling.limit_voxels=false",)),
            Variant("bound", "splines within 4 instead of 8", ("coupling.spline.bound=4.0",)),
            Variant("wide_bound", "splines within 14 instead of 8", ("coupling.spline.bound=14.0",)),
            Variant("alpha", "alpha of Flow I 1e-6 instead of 1e-9", ("layer_energies.alpha=1e-6",)),
        ),
    ),
    "teacher": Ablation(
        "maf",
        "teacher",
        ("teacher.training.epochs=20", "layer_energies.training.epochs=50"),
        (
            Variant("recipe", "as in the recipe: head of 8 blocks, width 96", ()),
            Variant("small_head", "head of 4 blocks, width 64", ("teacher.head.blocks=4", "teacher.head.width=64")),
            Variant("few_blocks", "4 MAF blocks instead of 8", ("teacher.blocks=4",)),
            Variant("rate", "learning rate 1e-3 instead of 2e-3", ("teacher.training.learning_rate=1e-3",)),
            Variant("not_standardised", "voxels not standardised", ("preprocessing.standardise=false",)),
        ),
    ),
    "distillation": Ablation(
        "maf",
        "student",
        (
            "teacher.head.blocks=4",
            "teacher.head.width=64",
            "teacher.training.epochs=20",
            "teacher.training.learning_rate=1e-3",
            "layer_energies.training.epochs=50",
            "student.training.epochs=5",
            "student.likelihood.epochs=5",
        ),
        (
            Variant("recipe", "distilled, then by its likelihood", (), (1, 2)),
            Variant(
                "no_likelihood",
                "distilled for all but one epoch",
                ("student.training.epochs=9", "student.likelihood.epochs=1"),
            ),
            Variant(
                "no_distillation",
                "likelihood for all but one epoch",
                ("student.training.epochs=1", "student.likelihood.epochs=9"),
                (1, 2),
            ),
            Variant("data_only", "distilled on data only", ("student.loss.beta=1.0",)),
            Variant("noise_only", "distilled on noise only", ("student.loss.beta=0.0",)),
            Variant(
                "end_points", "distilled at the end points only", ("student.loss.states=0", "student.loss.parameters=0")
            ),
            Variant("low_energies", "noise prefers low energies: weight 1 / E", ("student.low_energies=1.0",)),
            Variant("large_batches", "batches of 1000 while distilled", ("student.training.batch_size=1000",)),
            Variant("cosine", "learning rate that only falls", ("student.training.schedule=cosine",)),
            Variant("wide", "hidden layers of 512", ("student.hidden=[512,512]",)),
        ),
    ),
}
"""Studies of shower_ablation."""
