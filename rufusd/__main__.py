"""`python -m rufusd`."""

import sys

from rufusd.commands.cli import main

sys.exit(main())
