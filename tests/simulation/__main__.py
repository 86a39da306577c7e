"""python -m simulation: races by seed. README.md has the options."""

from __future__ import annotations

import argparse
import sys

from .runner import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
del argparse
