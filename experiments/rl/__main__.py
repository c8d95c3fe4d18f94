"""``python -m experiments.rl``."""

import sys

from experiments.rl.command import main

if __name__ == "__main__":
    sys.exit(main())
