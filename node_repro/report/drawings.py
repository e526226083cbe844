"""Drawings made from runs: their own pictures, their arrays, and line plots."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from node_repro.report.artifact import Drawing
from node_repro.runs.stored_run import StoredRun

if TYPE_CHECKING:
    from node_repro.figures.report_probes import Plot


def run_picture(
    name: str, runs: Iterable[StoredRun], file: str, caption: str, alt: str
) -> list[Drawing]:
    """A picture that runs saved, as in "panels.png", of the lowest seed whose file is intact.

    Returns:
        The drawing, or nothing if no run has an intact file.
    """
    from node_repro.figures.journal import picture

    for run in runs:
        if path := run.file(f"pictures/{file}") or run.file(f"probes/{file}"):
            try:
                content = picture(path)
            except Exception:  # PIL raises many types for damaged files, IndexError among them
                continue
            return [Drawing(name, f"{caption} {format_seeds([run.seed])}", alt, content)]
    return []


def run_arrays(runs: Iterable[StoredRun], file: str) -> tuple[int, Mapping[str, Any]] | None:
    """The lowest seed with an intact .npz file of this name, and the file's arrays."""
    for run in runs:
        if arrays := run.arrays(f"pictures/{file}"):
            return run.seed, arrays
    return None


def format_seeds(seeds: Iterable[int]) -> str:
    """The seeds that a drawing shows, as a sentence for its caption."""
    return f"Seed {', '.join(map(str, sorted(set(seeds))))}."


def line_plots(name: str, caption: str, alt: str, plots: Sequence["Plot"]) -> list[Drawing]:
    """Panels beside each other, without empty series; nothing if no panel has points."""
    from node_repro.figures.report_probes import panels

    shown = [
        plot._replace(series={label: pairs for label, pairs in plot.series.items() if pairs})
        for plot in plots
    ]
    if not any(plot.series for plot in shown):
        return []
    return [Drawing(name, caption, alt, panels(shown, len(shown)))]
