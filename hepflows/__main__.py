"""`python -m hepflows` does what the command `hepflows` does; this is how ``torchrun`` starts it."""

from __future__ import annotations

import sys

from hepflows.cli import main
from hepflows.train.distributed import is_launched, leave

code = main()
if is_launched():
    leave(code)
sys.exit(code)
