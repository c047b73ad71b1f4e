"""Names of the particles that calorimeter files mention, and their PDG codes."""

from __future__ import annotations

_CODES = {
    "e-": 11, "electron": 11, "electrons": 11,
    "e+": -11, "positron": -11, "positrons": -11, "eplus": -11,
    "gamma": 22, "photon": 22, "photons": 22,
    "pi+": 211, "piplus": 211, "pion": 211, "pions": 211,
    "pi-": -211, "piminus": -211,
    "pi0": 111, "mu-": 13, "mu+": -13,
    "proton": 2212, "neutron": 2112, "k+": 321, "k-": -321, "kaon0l": 130,
}  # fmt: skip


def pdg_code(particle: str | None) -> int | None:
    """PDG code of a particle's name (``e+``, ``photon``, ``211``), or None if it is not known."""
    if particle is None:
        return None
    text = particle.strip().lower()
    if text.lstrip("+-").isdecimal():
        return int(text)
    return _CODES.get(text)
