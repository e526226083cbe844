"""Run `node-run` as `python -m node_repro.cli`."""

import sys

from node_repro.cli import main

if __name__ == "__main__":
    sys.exit(main())
