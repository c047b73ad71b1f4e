"""Write commands.md from the command line's own help: python docs/commands_page.py.

With --check nothing is written, and the exit code is 1 if the page is another one.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from hepflows.cli import build_app

PAGE = Path(__file__).with_name("commands.md")
INTRODUCTION = """# Commands

Made from the command line's own help by `python docs/commands_page.py`; a test compares both. Examples with their
output are in [the tour of the command line](command-line.md). `hepflows --version` prints the version.

Exit codes: 0 done, 1 a gate failed, 2 bad input, 3 internal error, 130 interrupted. `--debug` (or `HEPFLOWS_DEBUG=1`)
shows the traceback of an error.

"""


def page() -> str:
    """The page as Markdown: every command with arguments, options and defaults."""
    text = build_app().generate_docs(output_format="markdown")
    _, _, text = text.partition("**Commands**:\n\n")  # the list, without the table of contents before it
    return INTRODUCTION + re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
