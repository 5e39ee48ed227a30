"""Makes `tiny_classifier` importable, which the tests here and the processes that they start share."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
