"""``python -m firstspike.cli``."""

import sys

from firstspike.cli.main import main

sys.exit(main())
