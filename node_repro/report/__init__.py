"""The report: what finished runs say about the paper's tables, figures and claims.

A section turns the runs into an `Artifact`; writers turn artifacts into HTML, Markdown, LaTeX and
CSV. Only files are read and nothing is trained, so torch is not needed. A verdict follows from
numbers by the rule that its `Claim` states.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from node_repro.report.runs import Run, Runs


class Verdict(StrEnum):
    """What the numbers say about a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    PARTLY = "holds in part"
    WITHIN = "within 2 s.e."
    OUTSIDE = "outside 2 s.e."
    INCOMPARABLE = "not comparable"
    OPEN = "not measured"


class Claim(NamedTuple):
    """What is claimed, what was measured, and the verdict with the rule that gave it."""

    text: str
    measured: str
    verdict: Verdict
    rule: str


class Spread(NamedTuple):
    """A number over seeds: mean and standard deviation, None of one seed."""

    mean: float
    sd: float | None
    n: int

    def times(self, factor: float) -> "Spread":
        """In another unit."""
        return Spread(self.mean * factor, None if self.sd is None else self.sd * factor, self.n)


Cell = str | int | float | Spread | None


class Column(NamedTuple):
    """One column. digits: behind the point; None for text or whole numbers. power: people read the
    number as a power of ten, "10⁻³"; in a CSV file it is 0.001.
    """

    title: str
    digits: int | None = None
    power: bool = False


TOLERANCE = Column("tolerance", power=True)


@dataclass(frozen=True)
class Table:
    """Rows of cells under columns; the first cell of a row is its heading."""

    name: str  # of the files, "table1"
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Drawing:
    """A figure in one or several formats: suffix -> content, of "svg", "png" and "gif".

    alt says in words what is to be seen, for who cannot see it.
    """

    name: str  # of the files, "figure4_u1"
    caption: str
    alt: str
    files: Mapping[str, bytes]


class Missing(NamedTuple):
    """The command that makes what an artifact lacks, and how far that is, as in "running"."""

    command: str
    state: str = ""

    def __str__(self) -> str:
        return f"{self.command}  # {self.state}" if self.state else self.command


@dataclass(frozen=True)
class Artifact:
    """One table, figure or measurement of the paper, as reproduced here."""

    name: str  # "table1": its place on the page
    title: str
    source: str  # where in the paper
    about: str  # what is shown and how it was measured
    claims: Sequence[Claim] = ()
    tables: Sequence[Table] = ()
    drawings: Sequence[Drawing] = ()
    notes: Sequence[str] = ()
    runs: Sequence[Run] = ()  # that it is made of
    missing: Sequence[Missing] = ()
    probe: str | None = None  # what measured it on the runs, beside their training


class Section(Protocol):
    """Makes one artifact of whatever runs there are."""

    def __call__(self, runs: Runs) -> Artifact: ...
