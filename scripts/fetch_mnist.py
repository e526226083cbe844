"""Fetch MNIST or Fashion-MNIST into a folder, or verify the files that are there already.

Prints where they are, their sizes and the sha256 of their uncompressed content. Exit code 3, with
one sentence, where there are none to be had or one of them is damaged.
"""

import argparse
import sys

from node_repro.data import DataError
from node_repro.data.mnist import MNISTSource
from node_repro.data.verified import PUBLISHED, read_verified


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", choices=sorted(PUBLISHED), default="mnist")
    parser.add_argument("--root", help="default: $NODE_REPRO_DATA, else the user's cache folder")
    chosen = parser.parse_args(arguments)
    published = PUBLISHED[chosen.dataset]
    try:
        folder = MNISTSource(dataset=chosen.dataset, root=chosen.root, source="full").find()
        verified = read_verified(folder, published)
    except DataError as error:
        print(error, file=sys.stderr)
        return 3
    known = "published" if published.sha256 else "counts and classes checked, no published sums"
    print(f"{published.title} in {folder} ({known})")
    print(
        f"training {tuple(verified.train.images.shape)}, test {tuple(verified.test.images.shape)}"
    )
    for name, sha256 in verified.sums.items():
        print(f"{sha256}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
