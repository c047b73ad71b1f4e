"""Documents of refined generators, and loading them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hepflows.artefact import load_artefact, load_state
from hepflows.config import build, config_to_dict
from hepflows.density_ratio import DensityRatio
from hepflows.document import RESTORE, document_of, read_document
from hepflows.errors import ArtefactError
from hepflows.refine.adapter import adapter_of
from hepflows.refine.config import RefineConfig
from hepflows.refine.event_ratio import EventWeights
from hepflows.refine.flow_refiner import RefinerFlow
from hepflows.refine.gan_refiner import RefinerGan
from hepflows.refine.generator import BASE, LatentRefinedGenerator, WeightedGenerator
from hepflows.refine.latent import LatentRatio
from hepflows.refine.methods import METHODS, Method
from hepflows.refine.refiner import NetworkRefiner
from hepflows.refine.samplers import HmcRefiner, RejectionRefiner
from hepflows.refine.samples import innermost

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from hepflows.document import GeneratorDocument
    from hepflows.generator import AnyGenerator
    from hepflows.refine.adapter import Adapter
    from hepflows.refine.refiner import LatentWeights, Refiner

REFINEMENT = "refinement"
"""Entry of a document's ``extra`` that makes it the document of a refined generator."""


def refined_document(
    base: AnyGenerator,
    method: Method,
    config: RefineConfig,
    sizes: Mapping[str, float],
    summary: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> GeneratorDocument:
    """Document of a generator refined by a method.

    Args:
        base: the generator that is refined.
        method: how.
        config: all settings.
        sizes: what `rebuilt` needs to make the network again.
        summary: figures of the refinement, JSON-able.
        provenance: of the reference events.
    """
    old = document_of(base.document)
    refinement = {"method": method, "sizes": dict(sizes), "config": config_to_dict(config)}
    return old.model_copy(
        update={
            "kind": f"{old.kind}+{method}",
            "extra": {REFINEMENT: refinement},
            "training": {REFINEMENT: dict(summary)},
            "metrics": {},
            "provenance": {**old.provenance, f"refined_with_{method}": dict(provenance)},
            "weights": None,
            "document_sha256": "",
        }
    )


def is_refined(document: GeneratorDocument) -> bool:
    """Whether it is the document of a refined generator."""
    return REFINEMENT in document.extra


def load_refined(
    directory: str | os.PathLike[str], *, device: str = "cpu"
) -> LatentRefinedGenerator | WeightedGenerator:
    """Read the artefact of a refined generator, and of the generators inside of it.

    Raises:
        ArtefactError: one of them is incomplete, altered or of another schema version.
    """
    from hepflows import registry

    document, state = load_artefact(directory)
    entry: Any = document.extra.get(REFINEMENT)
    if not isinstance(entry, dict) or entry.get("method") not in METHODS or not isinstance(entry.get("sizes"), dict):
        raise ArtefactError(
            "not a refined generator",
            where=f"{directory}/generator.json: extra.{REFINEMENT}",
            expected=f"method {', '.join(METHODS)} with its sizes",
            found=entry,
            remedy=RESTORE,
        )
    inside: Any = document.extra.get(BASE)
    expected = inside.get("document_sha256") if isinstance(inside, dict) else None
    found = read_document(Path(directory) / BASE).document_sha256
    if found != expected:
        raise ArtefactError(
            "the generator inside is not the one that was refined",
            where=Path(directory) / BASE,
            expected=f"a document of SHA-256 {expected}",
            found=found,
            remedy=RESTORE,
        )
    base = registry.load(Path(directory) / BASE, device=device)
    config = build(RefineConfig, entry["config"], where=f"{directory}: {REFINEMENT}")
    adapter, method, sizes = adapter_of(base), entry["method"], entry["sizes"]
    if method == "dctr":
        ratio = DensityRatio(int(sizes["features"]), config.classifier.hidden)
        load_state(ratio, state, where=directory)
        return WeightedGenerator(base, adapter, ratio, document, device=device)
    refiner = rebuilt(method, config, sizes, base=base, adapter=adapter)
    load_state(refiner.network, state, where=directory)
    return LatentRefinedGenerator(base, adapter, refiner, document, device=device)


def rebuilt(
    method: Method, config: RefineConfig, sizes: Mapping[str, Any], *, base: AnyGenerator, adapter: Adapter
) -> Refiner:
    """An untrained refiner of latents.

    Args:
        method: one of laser-flow, laser-gan, hmc and rejection.
        config: all settings.
        sizes: `latents` Z and `conditions` C; for hmc the `step` as well, and the `features` of the classifier where
            weights are those of events.
        base: the generator whose latents are refined.
        adapter: of its task.
    """
    latents, conditions = int(sizes["latents"]), int(sizes["conditions"])
    if method == "laser-flow":
        return NetworkRefiner(RefinerFlow(latents, conditions, config.flow, seed=config.seed), latents)
    if method == "laser-gan":
        gan = RefinerGan(latents, conditions, config.gan)
        return NetworkRefiner(gan, gan.noise_dim)
    weights: LatentWeights
    if config.pull.source == "events":
        sampler = copy.deepcopy(base.sampling_module())  # type: ignore[attr-defined]  # it had one when it was refined
        ratio = DensityRatio(int(sizes["features"]), config.classifier.hidden)
        weights = EventWeights(sampler, adapter.features(innermost(base)), ratio, latent_dim=latents)
    else:
        weights = LatentRatio(latents, conditions, config.pull.classifier.hidden)
    if method == "hmc":
        return HmcRefiner(weights, config.hmc, step=float(sizes["step"]))
    return RejectionRefiner(weights, config.rejection)
