"""Training of CaloFlow: Flow I and the teacher by likelihood, the student by distillation."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from calofast.caloflow import CaloFlowModel
from calofast.config import CaloFlowConfig, StudentConfig
from calofast.dataset import ShowerTensors, make_tensors
from calofast.generator import CaloGenerator
from calofast.generator_document import make_document
from calofast.showers import require_cells
from hepflows.errors import ArtefactError
from hepflows.train.distill import Distillation
from hepflows.train.loop import FitResult
from hepflows.train.loop import fit as run_training
from hepflows.train.objectives import MaximumLikelihood
from hepflows.train.progress import Reporter, SilentReporter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

    from calofast.geometry import Geometry
    from calofast.showers import Showers
    from hepflows.config import StrictConfig

_PROBE = 512  # showers generated to measure what the threshold removes


@dataclass(frozen=True)
class CaloFlow:
    """An untrained generator: a geometry and a configuration.

    Attributes:
        geometry: calorimeter.
        config: networks, preprocessing and training.
    """

    geometry: Geometry
    config: CaloFlowConfig = field(default_factory=CaloFlowConfig)


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where and how a training runs.

    Attributes:
        directory: for checkpoints and logs, one sub-directory a model; None keeps nothing.
        resume: continue from the checkpoints there.
        device: torch device.
        reporter: where progress goes.
        provenance: what is written into the artefact about the data.
    """

    directory: Path | None = None
    resume: bool = False
    device: str = "cpu"
    reporter: Reporter = field(default_factory=SilentReporter)
    provenance: Mapping[str, Any] | None = None

    def folder(self, name: str) -> Path | None:
        """Directory of one model."""
        return None if self.directory is None else self.directory / name


def fit(model: CaloFlow, showers: Showers, *, run: Run | None = None) -> CaloGenerator:
    """Train Flow I and the Flow II teacher.

    Args:
        model: what to train.
        showers: training and validation showers; the configuration says how many are held out.
        run: checkpoints, device, progress.

    Raises:
        GeometryError: the showers belong to another geometry.
        Interrupted: the training was stopped; it can be resumed if `run` has a directory.
    """
    run = run or Run()
    config = model.config
    require_cells(model.geometry, showers)
    data = make_tensors(showers, config, run.device)
    with _seeded(config.seed):
        network = CaloFlowModel(model.geometry.layer_sizes, config, "teacher").to(run.device)
        voxels, conditions = data.voxels_mev[data.train], data.conditions[data.train]
        network.fit_preprocessing(voxels, conditions, data.valid)
    first = run_training(
        network.layer_energies,
        MaximumLikelihood(
            network.layer_energies.flow,
            lambda index: network.prepare_layers(*data.training_batch(index)),
            lambda: network.prepare_layers(*data.validation_batch()),
        ),
        len(data.train),
        config.layer_energies.training,
        seed=config.seed,
        title="Flow I (layer energies)",
        directory=run.folder("layer_energies"),
        resume=run.resume,
        reporter=run.reporter,
        identity=_identity(showers, config.preprocessing, config.data, config.layer_energies),
    )
    second = run_training(
        network.shower_flow,
        MaximumLikelihood(
            network.shower_flow,
            lambda index: network.prepare_voxels(*data.training_batch(index)),
            lambda: network.prepare_voxels(*data.validation_batch()),
        ),
        len(data.train),
        config.teacher.training,
        seed=config.seed + 1,
        title="Flow II teacher (MAF)",
        directory=run.folder("teacher"),
        resume=run.resume,
        reporter=run.reporter,
        identity=_identity(showers, config.preprocessing, config.data, config.teacher),
    )
    training = {"layer_energies": _summary(first), "teacher": _summary(second), "n_train": len(data.train)}
    return _finish(network, model.geometry, config, showers, run, training, data)


def distill(
    teacher: CaloGenerator, showers: Showers, *, student: StudentConfig | None = None, run: Run | None = None
) -> CaloGenerator:
    """Train a fast-sampling student for a teacher.

    Args:
        teacher: trained generator of kind `teacher`.
        showers: the showers it was trained on.
        student: settings; by default those of the teacher's configuration, or the default ones.
        run: checkpoints, device, progress.

    Raises:
        ArtefactError: the generator is not a teacher.
        GeometryError: the showers belong to another geometry.
        Interrupted: the training was stopped.
    """
    run = run or Run()
    if teacher.kind != "teacher":
        raise ArtefactError(
            "only a teacher can be distilled",
            expected="kind teacher",
            found=f"kind {teacher.kind}",
            remedy="name the teacher's directory",
        )
    require_cells(teacher.geometry, showers)
    settings = student or teacher.config.student or StudentConfig()
    config = teacher.config.model_copy(update={"student": settings})
    data = make_tensors(showers, config, run.device)
    guide = teacher.model.to(run.device)
    with _seeded(config.seed):
        network = CaloFlowModel(teacher.geometry.layer_sizes, config, "student").to(run.device)
        network.copy_first_stage(guide)
        pool = _draw_contexts(guide, data.conditions[data.train], 4 * len(data.train))
        held_out = _draw_contexts(guide, data.conditions[data.validation], len(data.validation))
    result = run_training(
        network.shower_flow,
        Distillation(
            network.shower_flow,
            guide.shower_flow,
            settings.loss,
            training=lambda index: guide.prepare_voxels(*data.training_batch(index)),
            validation=lambda: guide.prepare_voxels(*data.validation_batch()),
            contexts=lambda n: held_out if n is None else pool[torch.randint(len(pool), (n,), device=pool.device)],
        ),
        len(data.train),
        settings.training,
        seed=config.seed + 2,
        title="Flow II student (IAF)",
        directory=run.folder("student"),
        resume=run.resume,
        reporter=run.reporter,
        identity=_identity(showers, config.preprocessing, config.data, settings, follows=guide),
    )
    training = {**teacher.document["training"], "student": _summary(result)}
    run = replace(run, provenance={**teacher.document["provenance"], **(run.provenance or {})})
    return _finish(network, teacher.geometry, config, showers, run, training, data)


@torch.no_grad()
def _draw_contexts(model: CaloFlowModel, conditions: Tensor, n: int) -> Tensor:
    """Contexts of Flow II for L_z, (n, C + L): layer energies by Flow I, conditions drawn as in the data.

    (The published pion student drew energies uniformly and hardly saw the low ones.)
    """
    chosen = conditions[torch.randint(len(conditions), (n,), device=conditions.device)]
    noise = torch.randn(n, model.n_layers, device=conditions.device)
    parts = zip(noise.split(4096), chosen.split(4096), strict=True)
    return torch.cat([model.context(cond, model.sample_layers(z, cond)) for z, cond in parts])


def _finish(
    network: CaloFlowModel,
    geometry: Geometry,
    config: CaloFlowConfig,
    showers: Showers,
    run: Run,
    training: Mapping[str, Any],
    data: ShowerTensors,
) -> CaloGenerator:
    """Wrap a trained network, with what the artefact says about it."""
    network = network.to("cpu")
    provenance = {
        "pdg": showers.pdg,
        "n_showers": len(showers),
        **showers.provenance,
        **(run.provenance or {}),
    }
    document = make_document(network, geometry, config, provenance=provenance, training=training)
    generator = CaloGenerator(network, geometry, config, document)
    probe = data.conditions[data.validation][:_PROBE].cpu().numpy()
    if config.data.conditions == ("incident_energy_gev",):
        removed = generator.energy_removed_by_threshold(probe[:, 0], seed=config.seed)
        document = document.model_copy(update={"metrics": {"energy_removed_by_threshold": removed}})
    return CaloGenerator(network, geometry, config, document)


def _identity(showers: Showers, *settings: StrictConfig, follows: CaloFlowModel | None = None) -> str:
    """Hash of what a training builds on: the showers, settings, and the teacher that a student follows."""
    digest = hashlib.sha256()
    for part in settings:
        digest.update(part.model_dump_json().encode())
    for array in (showers.incident_energy_gev, showers.voxels_mev, *showers.conditions.values()):
        digest.update(array.tobytes())
    for name, tensor in sorted(follows.state_dict().items() if follows else []):
        digest.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def _summary(result: FitResult) -> dict[str, Any]:
    return {"best_epoch": result.best_epoch, "best_loss": result.best_loss, "history": result.history}


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw initial weights and noise from a seed, and leave torch's generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
