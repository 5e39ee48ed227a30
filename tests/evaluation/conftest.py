"""Makes `feature_ranks` importable, which a test here and the processes that it starts share."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
