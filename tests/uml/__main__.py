"""``python -m uml``."""

import sys

from .run import main

sys.exit(main())
