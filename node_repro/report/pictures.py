"""Pictures that runs drew, taken over from the lowest seed whose file can be read."""

from collections.abc import Sequence

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
            except OSError:  # damaged
                continue
            return (Drawing(name, f"{caption} Seed {run.seed}.", alt, content),)
    return ()
