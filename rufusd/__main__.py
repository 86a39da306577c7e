"""`python -m rufusd`."""

import sys

from rufusd.cli import main

sys.exit(main())
