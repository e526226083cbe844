"""Pack the finished runs of a profile into one file from which the report can be made again.

    python scripts/archive_runs.py outputs reference docs/results/reference/runs.tar.xz
    mkdir /tmp/runs && tar -xf docs/results/reference/runs.tar.xz -C /tmp/runs
    node-run job=report profile=reference outputs=/tmp/runs

Every run keeps its result, configuration, environment, metrics and probes; the pictures are those
of the lowest seed of each experiment, which the report shows. Checkpoints and TensorBoard's files
are left out. Equal runs give an equal file.
"""

import io
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from node_repro.runs.stored_run import find_runs

RECORDS = ("*.json", "*.yaml", "*.jsonl", "probes/*.json")
DRAWN = "panels.npz"  # the arrays of a picture that is kept itself
PICTURES = ("pictures/*", "probes/*.png", "probes/*.npz")


def files_of(outputs: Path, profile: str) -> Iterator[Path]:
    """The files to keep."""
    finished = [run for run in find_runs(outputs, profile=profile) if run.result is not None]
    lowest = {run.path.parent: run.seed for run in sorted(finished, key=lambda run: -run.seed)}
    for run in finished:
        patterns = RECORDS + (PICTURES if run.seed == lowest[run.path.parent] else ())
        for pattern in patterns:
            found = (path for path in run.path.glob(pattern) if path.is_file())
            yield from (path for path in found if path.name != DRAWN)


def archive(outputs: Path, profile: str, target: Path) -> int:
    """Write the archive, and return the number of its files."""
    paths = sorted(files_of(outputs, profile))
    if not paths:
        raise SystemExit(f"{outputs} has no finished runs of profile {profile}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, "w:xz", preset=9) as packed:
        for path in paths:
            content = path.read_bytes()
            entry = tarfile.TarInfo(path.relative_to(outputs).as_posix())
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))
    return len(paths)


def main() -> None:
    """See the module's docstring."""
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    outputs, profile, target = sys.argv[1:]
    count = archive(Path(outputs), profile, Path(target))
    print(f"{count} files in {target}, {Path(target).stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
