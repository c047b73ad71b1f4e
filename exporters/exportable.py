"""What the exporters need from a generator, and what they read from its metadata."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hepflows.errors import ConditionError, ConfigError
from hepflows.out_of_range import check_policy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from hepflows.out_of_range import OutOfRange


class Exportable(Protocol):
    """A generator whose sampling is one pass of a torch module over (condition, noise)."""

    @property
    def noise_dim(self) -> int:
        """Number Z of standard normal numbers one event needs, Flow I first."""
        ...

    def sampling_module(self, *, threshold: bool = True) -> nn.Module:
        """Module in evaluation mode, float32: cond (N, C), noise (N, Z) to x (N, D) in physical units.

        A generator of weighted events gives a pair, x (N, D) and weights (N, 1).
        With ``threshold=False`` the outputs before the hit threshold (and before anything that follows it).
        """
        ...

    def export_metadata(self) -> Mapping[str, object]:
        """JSON-able description.

        Required is ``conditions``, a list of {name, unit, valid_range: [low, high]}, empty for none, and of weighted
        events ``weight``, what their weights are. Known keys besides are listed in `exporters.manifest.GENERATOR_KEYS`.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One column of the input `cond`.

    Attributes:
        name: carries the unit, as everywhere (``incident_energy_gev``).
        unit: unit of the values.
        low: lower end of the valid range.
        high: upper end of the valid range.
    """

    name: str
    unit: str
    low: float
    high: float

    def to_dict(self) -> dict[str, object]:
        """JSON form, the inverse of `read_conditions` for one entry."""
        return {"name": self.name, "unit": self.unit, "valid_range": [self.low, self.high]}


def read_conditions(metadata: Mapping[str, object], *, where: str) -> tuple[Condition, ...]:
    """Conditions of a generator or of an exported file, in the order of the columns.

    Raises:
        ConfigError: the entry is missing or not a list of {name, unit, valid_range}.
    """
    entries = metadata.get("conditions")
    expected = "conditions: a list of {name, unit, valid_range: [low, high]} with finite low <= high"
    if not isinstance(entries, list):
        raise ConfigError("the metadata name no conditions", where=where, expected=expected, found=entries)
    conditions = []
    for entry in entries:
        try:
            low, high = (float(value) for value in entry["valid_range"])
            condition = Condition(name=str(entry["name"]), unit=str(entry["unit"]), low=low, high=high)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError("ill-formed condition", where=where, expected=expected, found=entry) from error
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ConfigError("a condition has no valid range", where=where, expected=expected, found=entry)
        conditions.append(condition)
    return tuple(conditions)


def output_meaning(metadata: Mapping[str, object]) -> str:
    """What the numbers of an event are, in words, from ``output``: {name, unit, order}."""
    output = metadata.get("output")
    if not isinstance(output, dict):
        return "numbers of the event"
    return f"{output.get('name')} [{output.get('unit')}], order: {output.get('order')}"


def read_policy(metadata: Mapping[str, object], *, where: str) -> OutOfRange:
    """The recorded out-of-range policy; `error` if none is recorded."""
    return check_policy(metadata.get("out_of_range", "error"), where=where)


def apply_policy(
    conditions: NDArray[np.float32], valid: Sequence[Condition], policy: OutOfRange
) -> NDArray[np.float32]:
    """Refuse, clamp or pass conditions (N, C) outside the valid range.

    Raises:
        ConditionError: policy `error` and a value is outside; policy `clamp` and a value is not a number.
    """
    if check_policy(policy, where="out_of_range") == "pass":
        return conditions
    low = np.array([condition.low for condition in valid], dtype=np.float32)
    high = np.array([condition.high for condition in valid], dtype=np.float32)
    bad = np.isnan(conditions) if policy == "clamp" else ~((conditions >= low) & (conditions <= high))
    if bad.any():
        row, column = (int(index) for index in np.argwhere(bad)[0])
        condition = valid[column]
        outside = f"{int(bad.any(axis=1).sum())} of {len(conditions)} events outside"
        raise ConditionError(
            f"{condition.name} lies outside the range the generator was trained for",
            where=f"event {row}",
            expected=f"{condition.low:g} ... {condition.high:g} {condition.unit}",
            found=f"{conditions[row, column]:g}; {outside}",
            remedy="give a number"
            if policy == "clamp"
            else "stay inside the range, or clamp to it with --out-of-range clamp (in Python out_of_range='clamp')",
        )
    return np.clip(conditions, low, high)
