"""Evaluate a trunk by a classifier: python run/linear_classifier_evaluation.py -cp configs -cn EXPERIMENT ... ."""

import sys
from pathlib import Path

# A checkout runs its own code, also where eztorch is not installed or is installed from elsewhere.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from eztorch.engine.launch import main

if __name__ == "__main__":
    sys.exit(main("linear_classifier_evaluation", script=sys.argv[0]))
