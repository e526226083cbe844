"""Content of a report section: claims, drawings, tables, notes and missing runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from node_repro.report.tables import Table
from node_repro.runs.stored_run import StoredRun


class Verdict(StrEnum):
    """The verdict on a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    PARTLY = "holds in part"
    WITHIN = "within 2 s.e."
    OUTSIDE = "outside 2 s.e."
    INCOMPARABLE = "not comparable"
    OPEN = "not measured"


class Claim(NamedTuple):
    """A claim, the measured value in words, the verdict, and its rule."""

    text: str
    measured: str
    verdict: Verdict
    rule: str


@dataclass(frozen=True)
class Drawing:
    """A figure in one or several formats.

    Attributes:
        name: The files' name, "figure4_u1".
        caption: What is shown.
        alt: The alternative text, for readers who cannot see the figure.
        files: Suffix -> content, of "svg", "png" and "gif".
    """

    name: str
    caption: str
    alt: str
    files: Mapping[str, bytes]


class Missing(NamedTuple):
    """A command that produces a missing run or probe, and the state of it, as in "running"."""

    command: str
    state: str = ""

    def __str__(self) -> str:
        return f"{self.command}  # {self.state}" if self.state else self.command


@dataclass
class Artifact:
    """One table, figure or measurement of the paper, as reproduced here.

    Attributes:
        name: The anchor on the page, "table1".
        title: The heading.
        source: The place in the paper, or "not in the paper".
        about: What is shown and how it was measured.
        probe: The probe that measured it on the runs; None if training did.
        runs: The runs that it uses.
        claims, tables, drawings, notes, missing: The content.
    """

    name: str
    title: str
    source: str
    about: str
    probe: str | None = None
    runs: Sequence[StoredRun] = ()
    claims: list[Claim] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    drawings: list[Drawing] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a table with rows nor a drawing."""
        return not self.drawings and not any(table.rows for table in self.tables)
