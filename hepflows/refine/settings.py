"""Reading the settings of a refinement from TOML and ``--set``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hepflows.config import build, with_overrides
from hepflows.errors import ConfigError
from hepflows.files import require_file
from hepflows.plain_text import parse_toml, read_text
from hepflows.refine.config import RefineConfig

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def read_settings(path: Path | None, overrides: Sequence[str]) -> RefineConfig:
    """Settings of a file, or the default ones, with single values replaced.

    Raises:
        DataError: the file cannot be read.
        ConfigError: the syntax is wrong, or an entry unknown or ill-typed.
    """
    values = {}
    if path is not None:
        file = require_file(path, "configuration file")
        try:
            values = parse_toml(read_text(file))
        except ValueError as error:
            raise ConfigError("TOML syntax error", where=file, found=str(error)) from error
    given = with_overrides(values, overrides)
    paths = [tuple(override.partition("=")[0].strip().split(".")) for override in overrides]
    return build(RefineConfig, given, where=str(path or "refinement"), overridden=paths)
