"""Content of a report section: claims, drawings, tables, notes and missing runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from node_repro.report.tables import Table
from node_repro.runs.stored_run import StoredRun


class Verdict(StrEnum):
    """The verdict on a claim.

    UNDECIDED: the interval allows both. UNTESTED: the profile trains too little to judge the claim.
    INCOMPARABLE: the runs are on other data.
    """

    HOLDS = "holds"
    FAILS = "does not hold"
    UNDECIDED = "undecided"
    UNTESTED = "not tested at this budget"
    OPEN = "not measured"
    INCOMPARABLE = "not comparable"


class Claim(NamedTuple):
    """A claim of the paper, or a check of our own.

    Attributes:
        text: The claim.
        measured: The measured value in words.
        verdict: The verdict on it.
        rule: The rule of the verdict, in words.
        of_paper: Whether the paper makes the claim.
    """

    text: str
    measured: str
    verdict: Verdict
    rule: str
    of_paper: bool = True


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
    def claims_of_paper(self) -> list[Claim]:
        """The claims of the paper."""
        return [claim for claim in self.claims if claim.of_paper]

    @property
    def own_checks(self) -> list[Claim]:
        """The checks of our own."""
        return [claim for claim in self.claims if not claim.of_paper]

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a table with rows nor a drawing."""
        return not self.drawings and not any(table.rows for table in self.tables)
