"""`python -m hepflows` does what the command `hepflows` does."""

from __future__ import annotations

import sys

from hepflows.cli import main

sys.exit(main())
