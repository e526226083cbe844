"""Pack the finished runs of a profile, and their pictures, to make the report from again.

    python scripts/archive_runs.py outputs reference docs/results/reference/runs
    mkdir /tmp/runs && for f in docs/results/reference/runs/*; do tar -xf $f -C /tmp/runs; done
    node-run job=report profile=reference outputs=/tmp/runs

Every run keeps its result, configuration, environment, metrics and probes; the pictures are those
of the lowest seed of each experiment, which the report shows. Checkpoints and TensorBoard's files
are left out. Equal runs give equal files.
"""

import io
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from node_repro.runs.stored_run import find_runs

RECORDS = ("*.json", "*.yaml", "*.jsonl", "probes/*.json")
GRID = ("fig5_circles_", "fig5_moons_")
"""Experiments of figure 5's grid, which the report draws from panels.npz. Of other flows it shows
panels.png, and of no run density.png, as it reads density.npz."""
PICTURES = ("pictures/*", "probes/*.png", "probes/*.npz")


def files_of(outputs: Path, profile: str) -> Iterator[Path]:
    """The files to keep."""
    finished = [run for run in find_runs(outputs, profile=profile) if run.result is not None]
    lowest = {run.path.parent: run.seed for run in sorted(finished, key=lambda run: -run.seed)}
    for run in finished:
        patterns = RECORDS + (PICTURES if run.seed == lowest[run.path.parent] else ())
        unused = ("density.png", "panels.png" if run.experiment.startswith(GRID) else "panels.npz")
        for pattern in patterns:
            found = (path for path in run.path.glob(pattern) if path.is_file())
            yield from (path for path in found if path.name not in unused)


def archive(outputs: Path, profile: str, folder: Path) -> list[Path]:
    """Write the archives, and return their paths."""
    by_run: dict[str, list[Path]] = {}
    for path in sorted(files_of(outputs, profile)):
        experiment, _, seed, first = path.relative_to(outputs).parts[:4]
        kind = "-arrays" if path.suffix == ".npz" else "-pictures"
        name = f"{experiment}-{seed}{kind if first == 'pictures' else ''}"
        by_run.setdefault(name, []).append(path)
    if not by_run:
        raise SystemExit(f"{outputs} has no finished runs of profile {profile}")
    folder.mkdir(parents=True, exist_ok=True)
    return [pack(outputs, paths, folder / f"{name}.tar.xz") for name, paths in by_run.items()]


def pack(outputs: Path, paths: Iterable[Path], target: Path) -> Path:
    """Write one archive, without times and owners."""
    with tarfile.open(target, "w:xz", preset=9) as packed:
        for path in paths:
            content = path.read_bytes()
            entry = tarfile.TarInfo(path.relative_to(outputs).as_posix())
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))
    return target


def main() -> None:
    """See the module's docstring."""
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    outputs, profile, folder = sys.argv[1:]
    targets = archive(Path(outputs), profile, Path(folder))
    size = sum(target.stat().st_size for target in targets)
    print(f"{len(targets)} archives in {folder}, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
