"""Start-up check that the packages with generic names are this distribution's own.

`exporters` and `validation` are names that another distribution may install, too, over the same folder.
"""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from hepflows.registry import PluginError

GENERIC_NAMES = ("exporters", "validation")
"""Top-level packages of this distribution whose names another distribution may also use."""


def overwritten_packages(names: tuple[str, ...] = GENERIC_NAMES) -> tuple[PluginError, ...]:
    """Check that packages with generic names are this distribution's own, without importing them.

    Two ways lead to a foreign one: a directory earlier on `sys.path`, and another distribution unpacked over
    the same folder. The first shows in the place the package is found at, the second in the hash of its
    ``__init__.py``, which pip recorded at the installation.
    """
    problems = (_foreign_place(name) or _foreign_content(name) for name in names)
    return tuple(problem for problem in problems if problem is not None)


def _foreign_place(name: str) -> PluginError | None:
    from importlib.util import find_spec

    home = Path(__file__).resolve().parent.parent
    spec = find_spec(name)
    found = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
    if found is not None and found.parent == home / name:
        return None
    return PluginError(
        f"the package {name!r} that Python finds is not the one of hepflows",
        expected=home / name,
        found=found or "no such package",
        remedy=f"run from another directory, or remove what else is called {name!r} ({_owner(name)})",
    )


def _foreign_content(name: str) -> PluginError | None:
    from base64 import urlsafe_b64encode
    from hashlib import sha256

    try:
        recorded = metadata.distribution("hepflows").files or []
    except metadata.PackageNotFoundError:
        return None
    for file in recorded:
        if file.as_posix() != f"{name}/__init__.py" or file.hash is None or file.hash.mode != "sha256":
            continue
        path = Path(str(file.locate()))
        digest = urlsafe_b64encode(sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
        if digest != file.hash.value:
            return PluginError(
                f"the package {name!r} of hepflows was overwritten",
                where=path,
                found=_owner(name),
                remedy="uninstall that distribution, then `pip install --force-reinstall --no-deps hepflows`",
            )
    return None


def _owner(name: str) -> str:
    """Name the other distributions whose recorded files include this package; slow, so for messages only."""
    pattern = re.compile(rf"{re.escape(name)}/__init__\.py")
    owners = sorted(
        f"{distribution.name} {distribution.version}"
        for distribution in metadata.distributions()
        if distribution.name != "hepflows"
        and any(pattern.fullmatch(file.as_posix()) for file in distribution.files or [])
    )
    return "distribution " + ", ".join(owners) if owners else "not from an installed distribution"
