"""`python -m ftmigrate`."""

import sys

from ftmigrate.cli import main

sys.exit(main())
