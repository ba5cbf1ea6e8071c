import sys
from pathlib import Path

# The toy problem is a module beside the tests, which the killed training run imports too.
sys.path.insert(0, str(Path(__file__).parent))
