"""Download MNIST or Fashion-MNIST into a folder, or verify the files that are already there.

Prints their location, their sizes and the sha256 of their uncompressed content. The exit code is 3,
with one sentence, if the files cannot be found or downloaded or if one of them is damaged.
"""

import argparse
import sys

from node_repro.data import DataError
from node_repro.data.mnist import MNISTSource
from node_repro.data.mnist_files import PUBLISHED, read_verified


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
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
    known = "published" if published.sha256 else "sizes and classes checked, no known checksums"
    print(f"{published.title} in {folder} ({known})")
    print(
        f"training {tuple(verified.train.images.shape)}, test {tuple(verified.test.images.shape)}"
    )
    for name, sha256 in verified.sums.items():
        print(f"{sha256}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
