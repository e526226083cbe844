"""`python -m node_repro.cli` is `node-run`."""

import sys

from node_repro.cli import main

if __name__ == "__main__":
    sys.exit(main())
