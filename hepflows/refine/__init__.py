"""Refinement: making a trained generator better with a classifier between its events and the reference.

* `dctr`: weights on events (`hepflows.refine.reweight`); `unweight` undoes them by rejection.
* `laser-flow`, `laser-gan`, `hmc`, `rejection`: refined latents (`hepflows.refine.laser`).
* `discflow`: fine-tuning of the likelihood (`hepflows.refine.discflow`).

`refine` takes any of them by name; see docs/refinement.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hepflows.generator import AnyGenerator
    from hepflows.refine.adapter import Adapter
    from hepflows.refine.config import RefineConfig
    from hepflows.refine.methods import Method
    from hepflows.train.progress import Reporter

__all__ = ["refine"]


def refine(
    generator: AnyGenerator,
    events: Any,
    method: Method,
    config: RefineConfig | None = None,
    *,
    adapter: Adapter | None = None,
    device: str = "cpu",
    directory: Path | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> AnyGenerator:
    """Refine a generator by one of the methods.

    Args:
        generator: a trained generator, on the CPU.
        events: reference events, a container of the generator's task, with the conditions that matter.
        method: `dctr`, `laser-flow`, `laser-gan`, `hmc`, `rejection` or `discflow`.
        config: settings; the default ones if None.
        adapter: of the generator's task; found by the registry if None.
        device: torch device of the trainings.
        directory: for checkpoints.
        resume: continue from the checkpoints there.
        reporter: where progress goes.
        provenance: what the artefact says of the reference.

    Returns:
        A generator like any other: sampled, saved, loaded, validated and, but for `hmc` and `rejection`, exported.

    Raises:
        ConfigError: the method is unknown, or not for this generator.
        DataError: the reference events cannot be used.
        RefinementError: no overlap with the reference, exploding weights, chains that do not mix.
    """
    from hepflows.config import did_you_mean
    from hepflows.errors import ConfigError
    from hepflows.refine.adapter import adapter_of
    from hepflows.refine.config import RefineConfig
    from hepflows.refine.methods import METHODS

    if method not in METHODS:
        raise ConfigError(
            f"unknown refinement{did_you_mean(method, METHODS)}",
            where="method",
            expected=", ".join(METHODS),
            found=method,
        )
    config = config or RefineConfig()
    if config.rounds > 1 and method in ("dctr", "discflow"):
        raise ConfigError(
            f"{method} is not repeated on its own result",
            where="rounds",
            expected="1",
            found=config.rounds,
            remedy="set discflow.rounds, or refine the result again" if method == "discflow" else "leave rounds out",
        )
    adapter = adapter or adapter_of(generator)
    if method == "dctr":
        from hepflows.refine.reweight import dctr

        return dctr(generator, events, config, adapter=adapter, device=device, reporter=reporter, provenance=provenance)
    if method == "discflow":
        if hasattr(generator, "base"):
            raise ConfigError(
                "only a generator that is not refined yet has a likelihood to fine-tune",
                found=str(generator.document["kind"]),
                remedy="fine-tune the artefact that training gave, then refine the result",
            )
        from hepflows.refine.discflow import discflow

        return discflow(
            generator,
            events,
            config,
            adapter=adapter,
            device=device,
            directory=directory,
            resume=resume,
            reporter=reporter,
            provenance=provenance,
        )
    from hepflows.refine.laser import laser

    return laser(
        generator,
        events,
        config,
        method,
        adapter=adapter,
        device=device,
        directory=directory,
        resume=resume,
        reporter=reporter,
        provenance=provenance,
    )
