"""Measure a checkpoint by every protocol that fits it: python run/scorecard.py checkpoint=FILE key=value ... ."""

import sys
from pathlib import Path

# A checkout runs its own code, also where eztorch is not installed or is installed from elsewhere.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from eztorch.engine.launch import main

if __name__ == "__main__":
    sys.exit(main("scorecard", script=sys.argv[0]))
