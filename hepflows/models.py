"""Trained generators that installed packages bring: artefacts to sample from right after the installation.

A package announces them with an entry point of the group ``hepflows.models``: a function without arguments that
gives a directory, each artefact in which is a model named after its own directory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hepflows.errors import ConfigError
from hepflows.registry import PluginError, plugins

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

_DOCUMENT = "generator.json"  # not imported: `hepflows.document` is slow to import


@dataclass(frozen=True, kw_only=True)
class Model:
    """A trained generator of an installed package.

    Attributes:
        name: name by which ``--model`` takes it.
        directory: its artefact.
        distribution: name and version of the distribution that brings it.
    """

    name: str
    directory: Path
    distribution: str


def models() -> dict[str, Model]:
    """All models by name.

    Raises:
        PluginError: a package's announcement is broken, or two packages bring models of one name.
    """
    found: dict[str, Model] = {}
    for plugin in plugins("hepflows.models").values():
        locate_folder: Callable[[], str | os.PathLike[str]] = plugin.load()
        folder = Path(locate_folder())
        for document in sorted(folder.glob(f"*/{_DOCUMENT}")):
            model = Model(name=document.parent.name, directory=document.parent, distribution=plugin.distribution)
            other = found.setdefault(model.name, model)
            if other is not model:
                raise PluginError(
                    f"two models are called {model.name!r}",
                    where="hepflows.models",
                    found=f"{other.directory} of {other.distribution} and {model.directory} of {model.distribution}",
                    remedy="uninstall one of the two distributions, or name the artefact's directory",
                )
    return dict(sorted(found.items()))


def model_directory(name: str) -> Path:
    """Artefact of the model called `name`.

    Raises:
        ConfigError: there is none; the message names the nearest and all there are.
    """
    there = models()
    if name in there:
        return there[name].directory
    from hepflows.config import did_you_mean

    raise ConfigError(
        f"no model is called {name!r}{did_you_mean(name, there)}",
        expected=f"one of {', '.join(there)}" if there else "an installed package that brings models",
        remedy="hepflows models lists them",
    )
