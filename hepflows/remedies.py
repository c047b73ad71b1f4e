"""How a user states a setting for reading a file: by one key on the command line, in a configuration, in Python."""

from __future__ import annotations


def option(*choices: str) -> str:
    """Say how to set one of these entries ``key=value`` of the table ``[data]``."""
    flags = " or ".join(f"--read {choice}" for choice in choices)
    argument = choices[0].partition("=")[0].partition(".")[0]
    return f"{flags} (train, distill: --set data.{choices[0]}; in Python: the argument {argument})"
