"""Makes `foreign_libraries` importable, which a test and the process that it starts share."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
