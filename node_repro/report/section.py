"""Sections of the report: one function each, found in the folder `sections/`."""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from node_repro.report.artifact import Artifact, Claim, Drawing, Missing
from node_repro.report.commands import missing_probes, missing_runs
from node_repro.report.selection import Selection
from node_repro.report.tables import Table

Part = Claim | Table | Drawing | Missing | str
"""The parts of a section, in the order of the page; a string is a note."""

Parts = Iterable[Part]
Build = Callable[[Selection], Parts]


@dataclass(frozen=True)
class Section:
    """A part of the report; called with the runs, it makes the artifact.

    Attributes:
        order: The place on the page; sections are sorted by it.
        name, title, source, about, probe: As in `Artifact`.
        experiments: The experiments that it uses.
        build: Yields the parts.
    """

    order: int
    name: str
    title: str
    source: str
    about: str
    experiments: Sequence[str]
    probe: str | None
    build: Build

    def __call__(self, selection: Selection) -> Artifact:
        """The artifact, with its runs and the commands for missing ones."""
        missing = missing_runs(selection, self.experiments)
        if self.probe is not None:
            missing += missing_probes(selection, self.experiments, self.probe)
        artifact = Artifact(
            self.name, self.title, self.source, self.about, self.probe, missing=missing
        )
        artifact.runs = [
            run
            for name in self.experiments
            for run in (
                selection.seeds(name) if self.probe is None else selection.probed(name, self.probe)
            )
        ]
        lists = {
            Claim: artifact.claims,
            Table: artifact.tables,
            Drawing: artifact.drawings,
            Missing: artifact.missing,
            str: artifact.notes,
        }
        for part in self.build(selection):
            lists[type(part)].append(part)
        return artifact


def section(
    *,
    order: int,
    name: str,
    title: str,
    source: str,
    experiments: Iterable[str] = (),
    probe: str | None = None,
) -> Callable[[Build], Section]:
    """Decorator that makes a `Section` of the function that yields its parts.

    The function's docstring is the introduction, `about`.
    """

    def decorate(build: Build) -> Section:
        about = " ".join((build.__doc__ or "").split())
        return Section(order, name, title, source, about, tuple(experiments), probe, build)

    return decorate


def find_sections() -> list[Section]:
    """All sections in the modules of the folder `sections/`, sorted by their order."""
    from node_repro.report import sections

    modules = [
        importlib.import_module(f"{sections.__name__}.{module.name}")
        for module in pkgutil.iter_modules(sections.__path__)
    ]
    found = {
        value.name: value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, Section)
    }
    return sorted(found.values(), key=lambda one: one.order)
