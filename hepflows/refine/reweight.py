"""DCTR: classifier weights on generated events (Andreassen and Nachman, arXiv 1907.08209; arXiv 2009.03796).

Weights are clipped at W, the setting `classifier.max_weight`, and normalised to a mean of 1, see `hepflows.classifier`.
`unweight` turns weighted events into unweighted ones by rejection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepflows.errors import ConfigError
from hepflows.refine.artefact import refined_document
from hepflows.refine.event_ratio import fit_event_ratio
from hepflows.refine.generator import BASE, WeightedGenerator
from hepflows.refine.samples import make_samples
from hepflows.refine.unweighting import Unweighted, unweight
from hepflows.train.progress import Reporter, SilentReporter
from hepflows.train.seeding import seed_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hepflows.generator import AnyGenerator
    from hepflows.refine.adapter import Adapter
    from hepflows.refine.config import RefineConfig

__all__ = ["Unweighted", "dctr", "unweight"]


def dctr(
    generator: AnyGenerator,
    events: Any,
    config: RefineConfig,
    *,
    adapter: Adapter,
    device: str = "cpu",
    reporter: Reporter | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> WeightedGenerator:
    """Make a generator of weighted events.

    Args:
        generator: what is refined; it may be refined in latent space already.
        events: reference events, a container of the generator's task.
        config: seed, copies and classifier.
        adapter: of the generator's task.
        device: torch device of the training.
        reporter: where progress goes.
        provenance: what the artefact says of the reference.

    Raises:
        ConfigError: the generator's events have weights already.
        DataError: the reference events cannot be used.
        RefinementError: the classifier separates both, or the weights explode.
    """
    if isinstance(generator, WeightedGenerator):
        raise ConfigError(
            "the events of this generator have weights already",
            found=generator.kind,
            remedy=f"refine what it was made from, its directory {BASE}",
        )
    reporter = reporter or SilentReporter()
    samples = make_samples(
        generator, events, adapter, copies=config.copies, seed=seed_of(config.seed, "dctr", 0), reporter=reporter
    )
    found = fit_event_ratio(samples, config.classifier, seed=config.seed, device=device, reporter=reporter)
    reporter.message(
        f"weights: AUC of the classifier {found.auc:.3f}, effective sample size {100 * found.effective_share:.3g} %, "
        f"{100 * found.clipped:.3g} % clipped"
    )
    sizes = {"features": samples.reference.shape[1]}
    document = refined_document(generator, "dctr", config, sizes, found.summary(), provenance or {})
    return WeightedGenerator(generator, adapter, found.model.cpu(), document)
