"""``python -m lpm`` is ``lpm``."""

import sys

from lpm.cli import main

if __name__ == "__main__":
    sys.exit(main())
