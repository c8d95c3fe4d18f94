"""``python -m experiments.rl``."""

import sys

from experiments.rl.command import main

sys.exit(main())
