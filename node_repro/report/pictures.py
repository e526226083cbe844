"""What runs drew, or what they drew it from: of the lowest seed whose file can be read."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from node_repro.report import Drawing
from node_repro.report.runs import Run

GIF_BYTES = 300_000  # beyond, an animation is linked and not shown


def taken(name: str, runs: Sequence[Run], file: str, caption: str, alt: str) -> tuple[Drawing, ...]:
    """A picture of the lowest seed that has it whole, as in "panels.png"; empty if none has."""
    from node_repro.figures.journal import picture

    for run in runs:
        if path := run.file(f"pictures/{file}") or run.file(f"probes/{file}"):
            try:
                content = picture(path)
            except Exception:  # PIL says many things of damaged files, an IndexError among them
                continue
            return (Drawing(name, f"{caption} {of_seeds([run.seed])}", alt, content),)
    return ()


def first_arrays(runs: Sequence[Run], file: str) -> tuple[int, Mapping[str, Any]] | None:
    """The seed, and the arrays of a .npz file, as in "figure1.npz"; None if no run has it whole."""
    for run in runs:
        if arrays := run.arrays(f"pictures/{file}"):
            return run.seed, arrays
    return None


def of_seeds(seeds: Iterable[int]) -> str:
    """The sentence for a caption."""
    return f"Seed {', '.join(map(str, sorted(set(seeds))))}."
