"""Names of the refinements; nothing else, so that the command line need not import torch to list them."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Method: TypeAlias = Literal["dctr", "laser-flow", "laser-gan", "hmc", "rejection", "discflow"]
CHECKPOINTED: tuple[str, ...] = ("laser-flow", "discflow")
"""Methods that can go on where they were stopped."""
METHODS: tuple[str, ...] = get_args(Method)
