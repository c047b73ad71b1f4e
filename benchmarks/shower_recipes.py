"""What the shower table trains: particles, recipes, and the generators that come out of each."""

from __future__ import annotations

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
            "head": {"blocks": 4, "width": 64},
            "training": {"epochs": 60, "learning_rate": 1e-3, "matmul_precision": "bfloat16"},
        },
        "student": {
            "hidden": [256, 256],
            "training": {"epochs": 20, "optimizer": "adamw", "weight_decay": 1e-4, "learning_rate": 1e-3},
            "likelihood": {"epochs": 20, "learning_rate": 3e-4},
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
            "training": {"epochs": 60, "batch_size": 200, "learning_rate": 1e-4, "schedule": "cosine"},
        },
        "student": {
            "hidden": [378, 378],
            "training": {"epochs": 20, "batch_size": 200, "learning_rate": 1e-4, "schedule": "cosine"},
        },
    },
}
"""Configurations of `calofast`, without the file's part."""
