"""What is asked of the samples and settings of a comparison before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hepflows.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from validation.domain import Events
    from validation.settings import Settings

MIN_EVENTS: Final = 50
"""Least n for a comparison: fewer events make every metric noise."""


def wanted_inputs(offered: tuple[str, ...], settings: Settings) -> tuple[str, ...]:
    """Names of the classifier's input sets, none if the test is left out.

    Raises:
        ConfigError: a name that the domain does not offer.
    """
    if settings.trainings == 0:
        return ()
    wanted = offered if settings.inputs is None else settings.inputs
    unknown = [name for name in wanted if name not in offered]
    if unknown:
        raise ConfigError("unknown classifier inputs", expected=", ".join(offered), found=", ".join(unknown))
    return tuple(dict.fromkeys(wanted))


def check_sizes(reference: Events, generated: Mapping[str, Events], noun: str) -> None:
    """Check that there are samples with enough events.

    Raises:
        ConfigError: no sample, or one called like the reference.
        DataError: too few events, or weights that leave none.
    """
    if not generated:
        raise ConfigError("nothing to compare with the reference", remedy="give at least one generated sample")
    if "reference" in generated:
        raise ConfigError("a generated sample must not be called 'reference'", remedy="name it differently")
    for name, n, least in (
        ("reference", len(reference), 2 * MIN_EVENTS),
        *((name, len(events), MIN_EVENTS) for name, events in generated.items()),
    ):
        events = reference if name == "reference" else generated[name]
        if events.weights is not None and not events.weights.sum() > 0:
            raise DataError(
                f"the weights of the {noun} do not add up to a positive number",
                where=name,
                found=f"sum {events.weights.sum():g}",
                remedy="check the weights in the file",
            )
        if n < least:
            raise DataError(
                f"too few {noun} for a comparison",
                where=name,
                expected=f"at least {least}",
                found=n,
                remedy="use more events; the reference is split into two halves",
            )
