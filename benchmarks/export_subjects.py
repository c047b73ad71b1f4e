"""The generators whose exported files are timed: of full size with random weights, or artefacts from disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.architecture import randomise, spread
from calofast.caloflow import CaloFlowModel
from calofast.config import CaloFlowConfig
from calofast.dataset import make_tensors as make_shower_tensors
from calofast.generator import CaloGenerator
from calofast.generator_document import make_document as make_shower_document
from calofast.reading import embedded_showers_path, read_showers
from hepflows import registry
from hepflows.benchmarking.artefact import conditions_inside
from hepflows.config import build
from hepflows.coupling import SplineCoupling
from hepflows.flow_matching import ContinuousFlow
from hepflows.made import MADE
from hepflows.train.seeding import seeded
from jetgen.dataset import make_tensors as make_jet_tensors
from jetgen.generator import JetGenerator
from jetgen.generator_document import make_document as make_jet_document
from jetgen.jetflow import JetFlowModel
from jetgen.reading import embedded_jets_path, read_jets
from jetgen.training import JetFlow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from benchmarks.options import Options
    from calofast.shower_flow import Kind

KINDS: tuple[Kind, ...] = ("student", "teacher")
JET_PRESETS = ("exact", "equivariant")
_SHOWERS, _JETS = 2000, 1000
"""Events that preprocessing is fitted on."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A generator with the inputs that all runtimes get.

    Attributes:
        generator: the generator.
        conditions: of all events, by name.
    """

    generator: Any
    conditions: Mapping[str, NDArray[np.float32]]

    def columns(self, n: int) -> NDArray[np.float32]:
        """Conditions (n, C) of the first events."""
        names = self.generator.condition_names
        listed = [self.conditions[name][:n] for name in names]
        return np.stack(listed, axis=1).astype(np.float32) if listed else np.empty((n, 0), np.float32)

    def first(self, n: int) -> dict[str, NDArray[np.float32]]:
        """The same by name."""
        return {name: values[:n] for name, values in self.conditions.items()}

    @property
    def dense_bytes(self) -> int:
        """Bytes of all parameters in float32, those under masks included."""
        module: nn.Module = self.generator.sampling_module()
        return 4 * sum(parameter.numel() for parameter in module.parameters())


def make_subjects(options: Options) -> dict[str, Subject]:
    """Student, teacher and, if wanted, jets: names to generators with the conditions of the largest batch."""
    paths: dict[str, Path] = {kind: options.more[kind] for kind in (*KINDS, "jets") if options.more[kind] is not None}
    generators: dict[str, Any] = {}
    if not paths.keys() >= {*KINDS}:
        generators |= _showers(options)
    if "jets" not in paths and options.more["make_jets"] and not options.quick:
        generators |= {f"jets_{preset}": jet_generator(preset, seed=options.seed) for preset in JET_PRESETS}
    generators |= {kind: registry.load(path) for kind, path in paths.items()}
    most = max(options.batches)
    return {
        name: Subject(generator=generator, conditions=conditions_inside(generator, most))
        for name, generator in generators.items()
    }


def _showers(options: Options) -> dict[str, CaloGenerator]:
    """A teacher and a student of the CaloGAN calorimeter that share preprocessing and Flow I."""
    network = {"hidden": list(options.more["hidden"])}
    teacher = {"blocks": options.more["blocks"], **network}
    config = build(CaloFlowConfig, {"seed": options.seed, "teacher": teacher, "student": network}, where="benchmark")
    showers = read_showers(embedded_showers_path(), first=_SHOWERS)
    data = make_shower_tensors(showers, config, "cpu")
    with seeded(config.seed):
        models = {kind: CaloFlowModel(showers.geometry, config, kind) for kind in KINDS}
        models["teacher"].fit_preprocessing(data.voxels_mev[data.train], data.conditions[data.train], data.valid)
    for model in models.values():
        sharpen(model.shower_flow, seed=options.seed)  # Flow I stays simple: its energies must stay below the incident
    models["student"].copy_first_stage(models["teacher"])
    found: dict[str, CaloGenerator] = {}
    for kind, model in models.items():
        document = make_shower_document(
            model, showers.geometry, config, provenance={"pdg": showers.pdg}, training={"none": "random weights"}
        )
        found[kind] = CaloGenerator(model, showers.geometry, config, document)
    return found


def jet_generator(preset: str, *, seed: int, **settings: Any) -> JetGenerator:
    """Jets of 30 slots from a network of the default size of the preset."""
    config = JetFlow(preset, seed=seed, **settings).config
    data = make_jet_tensors(read_jets(embedded_jets_path(), first=_JETS, particles=30), config, "cpu")
    with seeded(seed):
        model = JetFlowModel(30, config)
        model.fit_preprocessing(data.batch(data.train)[0], data.mass[data.train], data.valid)
    model.keep_trained()
    sharpen(model, seed=seed)
    document = make_jet_document(model, config, provenance={}, training={"none": "random weights"})
    return JetGenerator(model.eval(), config, document)


def sharpen(model: nn.Module, *, seed: int) -> None:
    """Give all networks weights with which splines clearly differ from the identity, as after a training."""
    generator = torch.Generator().manual_seed(seed)
    for part in model.modules():
        if isinstance(part, MADE):
            randomise(part, generator)
        elif isinstance(part, SplineCoupling):
            spread(part.conditioner.exit.weight, generator)
        elif isinstance(part, ContinuousFlow):
            spread(part.velocity.get_parameter("exit.weight"), generator)
