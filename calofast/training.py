"""Training of CaloFlow: Flow I and Flow II by likelihood, a teacher's student by distillation."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from calofast.calibrate import calibrate
from calofast.caloflow import CaloFlowModel
from calofast.config import CaloFlowConfig, StudentConfig
from calofast.dataset import ShowerTensors, make_tensors
from calofast.generator import CaloGenerator
from calofast.generator_document import make_document
from calofast.noise_contexts import draw_contexts
from calofast.showers import require_cells
from calofast.streamed import StreamedShowers, StreamedTensors, make_streamed
from hepflows.draws import integers
from hepflows.errors import ArtefactError
from hepflows.train.checkpoint import identity
from hepflows.train.distill import Distillation
from hepflows.train.loop import fit as run_training
from hepflows.train.objectives import MaximumLikelihood
from hepflows.train.run import Run
from hepflows.train.seeding import seeded
from hepflows.train.split import chosen_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from calofast.geometry import Geometry
    from calofast.shower_flow import Kind
    from calofast.showers import Showers
    from hepflows.config import StrictConfig

__all__ = ["CaloFlow", "Run", "distill", "fit"]

_TITLES: dict[Kind, str] = {
    "teacher": "Flow II teacher (MAF)",
    "student": "Flow II student (IAF)",
    "coupling": "Flow II (coupling)",
    "inductive": "Flow II (layer by layer)",
}
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


def fit(model: CaloFlow, showers: Showers | StreamedShowers, *, run: Run | None = None) -> CaloGenerator:
    """Train Flow I and the Flow II of the configured architecture, both by likelihood.

    Args:
        model: what to train.
        showers: training and validation showers, in memory or in their file (`calofast.streamed.stream_showers`); the
            configuration says how many are held out.
        run: checkpoints, device, progress.

    Raises:
        GeometryError: the showers belong to another geometry.
        Interrupted: the training was stopped; it can be resumed if `run` has a directory.
    """
    run = run or Run()
    config, kind = model.config, model.config.first_kind
    require_cells(model.geometry, showers)
    data = _tensors(showers, config, run.device)
    with seeded(config.seed):
        network = CaloFlowModel(model.geometry, config, kind).to(run.device)
        network.fit_preprocessing(*data.fitting_sample(config.preprocessing.threshold_mev), data.valid)
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
        order=data.order,
        identity=_identity(showers, config.preprocessing, config.data, config.layer_energies),
    )
    second = run_training(
        network.shower_flow,
        _likelihood(network, data),
        len(data.train),
        config.second_flow.training,
        seed=config.seed + 1,
        title=_TITLES[kind],
        directory=run.folder(kind),
        resume=run.resume,
        reporter=run.reporter,
        order=data.order,
        identity=_identity(showers, config.preprocessing, config.data, config.second_flow),
    )
    training = {"layer_energies": first.summary(), kind: second.summary(), "n_train": len(data.train)}
    return _finish(network, model.geometry, config, showers, run, training, data)


def distill(
    teacher: CaloGenerator,
    showers: Showers | StreamedShowers,
    *,
    student: StudentConfig | None = None,
    run: Run | None = None,
) -> CaloGenerator:
    """Train a fast-sampling student for a teacher, by distillation and then, if configured, by its likelihood.

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
    data = _tensors(showers, config, run.device)
    guide = teacher.model.to(run.device)
    with seeded(config.seed):
        network = CaloFlowModel(teacher.geometry, config, "student").to(run.device)
        network.copy_first_stage(guide)
        low = settings.low_energies
        pool = draw_contexts(guide, data.conditions[data.train], 4 * data.in_memory, low_energies=low)
        held_out = draw_contexts(guide, data.conditions[data.validation], len(data.validation), low_energies=low)
    result = run_training(
        network.shower_flow,
        Distillation(
            network.shower_flow,
            guide.shower_flow,
            settings.loss,
            training=lambda index: guide.prepare_voxels(*data.training_batch(index)),
            validation=lambda: guide.prepare_voxels(*data.validation_batch()),
            contexts=lambda n: held_out if n is None else pool[integers(len(pool), n, device=pool.device)],
        ),
        len(data.train),
        settings.training,
        seed=config.seed + 2,
        title=_TITLES["student"],
        directory=run.folder("student"),
        resume=run.resume,
        reporter=run.reporter,
        order=data.order,
        identity=_identity(showers, config.preprocessing, config.data, settings, follows=guide),
    )
    training = {**teacher.document["training"], "student": result.summary(), "n_train_student": len(data.train)}
    if settings.likelihood is not None:
        training["student_likelihood"] = run_training(
            network.shower_flow,
            _likelihood(network, data),
            len(data.train),
            settings.likelihood,
            seed=config.seed + 3,
            title="Flow II student (likelihood)",
            directory=run.folder("student_likelihood"),
            resume=run.resume,
            reporter=run.reporter,
            order=data.order,
            identity=_identity(showers, config.preprocessing, config.data, settings, follows=guide),
        ).summary()
    return _finish(network, teacher.geometry, config, showers, run, training, data, teacher.document["provenance"])


def _tensors(
    showers: Showers | StreamedShowers, config: CaloFlowConfig, device: str
) -> ShowerTensors | StreamedTensors:
    if isinstance(showers, StreamedShowers):
        return make_streamed(showers, config, device)
    return make_tensors(showers, config, device)


def _likelihood(network: CaloFlowModel, data: ShowerTensors | StreamedTensors) -> MaximumLikelihood:
    """Exact likelihood of Flow II; a student's comes from the inverse of its autoregressive direction."""
    return MaximumLikelihood(
        network.shower_flow,
        lambda index: network.prepare_voxels(*data.training_batch(index)),
        lambda: network.prepare_voxels(*data.validation_batch()),
    )


def _finish(
    network: CaloFlowModel,
    geometry: Geometry,
    config: CaloFlowConfig,
    showers: Showers | StreamedShowers,
    run: Run,
    training: Mapping[str, Any],
    data: ShowerTensors | StreamedTensors,
    inherited: Mapping[str, Any] = MappingProxyType({}),
) -> CaloGenerator:
    """Wrap a trained network, with what the artefact says about it."""
    network = network.to("cpu")
    provenance = {
        **inherited,
        "pdg": showers.pdg,
        "n_showers": len(showers),
        **showers.provenance,
        **(run.provenance or {}),
    }
    document = make_document(network, geometry, config, provenance=provenance, training=training)
    generator = CaloGenerator(network, geometry, config, document)
    calibrate(generator, data)
    held_out = data.conditions[data.validation].cpu().numpy()
    probe = held_out[chosen_rows(len(held_out), _PROBE, seed=config.seed)]
    removed = generator.energy_removed_by_threshold(
        dict(zip(generator.condition_names, probe.T, strict=True)), seed=config.seed
    )
    document = document.model_copy(update={"metrics": {"energy_removed_by_threshold": removed}})
    return CaloGenerator(network, geometry, config, document)


def _identity(showers: Showers | StreamedShowers, *settings: StrictConfig, follows: CaloFlowModel | None = None) -> str:
    """Hash of what a training builds on: the showers, settings, and the teacher that a student follows."""
    voxels: Any = showers.identity() if isinstance(showers, StreamedShowers) else showers.voxels_mev
    arrays = (showers.incident_energy_gev, voxels, *showers.conditions.values())
    weights = sorted(follows.state_dict().items()) if follows else []
    followed = (part for name, tensor in weights for part in (name, tensor.detach().cpu().numpy()))
    left_out = {"stream", "buffer"}  # of [data]: the voxels stand for what they do
    return identity(*(part.model_dump_json(exclude=left_out) for part in settings), *arrays, *followed)
