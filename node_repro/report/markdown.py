"""The report as Markdown, with its figures as files beside it."""

from collections.abc import Sequence

from node_repro.report import Artifact, Claim, Drawing, Table, Verdict
from node_repro.report.absent import commands
from node_repro.report.words import is_text, made_of, overview, text, titles


def document(artifacts: Sequence[Artifact], profile: str, title: str, about: str) -> str:
    """The whole document."""
    parts = [f"# {title}", about, *_overview(artifacts)]
    for artifact in artifacts:
        parts += _section(artifact, profile)
    every = dict.fromkeys(one for artifact in artifacts for one in artifact.missing)
    lines = "\n".join(str(one) for one in every)
    parts += ["## What is missing", f"```sh\n{lines}\n```" if every else "Nothing."]
    return "\n\n".join(parts) + "\n"


def _overview(artifacts: Sequence[Artifact]) -> list[str]:
    parts = ["## Claims and verdicts", overview(artifacts)]
    known = [
        _line((claim.text, claim.measured, claim.verdict.value, artifact.title))
        for artifact in artifacts
        for claim in artifact.claims
        if claim.verdict is not Verdict.OPEN
    ]
    if not known:
        return [*parts, "Nothing was measured yet."]
    return [
        *parts,
        "\n".join(["| claim | measured | verdict | section |", "|---|---|---|---|", *known]),
    ]


def _section(artifact: Artifact, profile: str) -> list[str]:
    parts = [f"## {artifact.title}", f"*{artifact.source}*", artifact.about]
    if artifact.claims:
        parts.append(claims(artifact.claims))
    for table in artifact.tables:
        if table.rows:
            parts += [f"*{_plain(table.caption)}*", grid(table)]
    parts += [_figure(drawing) for drawing in artifact.drawings]
    if not any(table.rows for table in artifact.tables) and not artifact.drawings:
        parts.append("There is nothing to show yet.")
    parts += list(artifact.notes)
    if runs := made_of(artifact):
        parts.append(f"Made of {runs}.")
    lines = "\n".join(commands(profile, artifact.runs, artifact.probe))
    return [*parts, f"```sh\n{lines}\n```"]


def claims(some: Sequence[Claim]) -> str:
    """Claims as a table with their verdicts."""
    head = ["| claim | measured | verdict | rule |", "|---|---|---|---|"]
    rows = [(claim.text, claim.measured, claim.verdict.value, claim.rule) for claim in some]
    return "\n".join([*head, *(_line(row) for row in rows)])


def grid(table: Table) -> str:
    """A table; numbers to the right."""
    sides = ["---" if is_text(table, i) or i == 0 else "---:" for i in range(len(table.columns))]
    lines = [_line(titles(table.columns)), f"|{'|'.join(sides)}|"]
    for row in table.rows:
        cells = zip(row, table.columns, strict=True)
        lines.append(_line([text(cell, column) for cell, column in cells]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_plain(cell) for cell in cells)} |"


def _plain(words: str) -> str:
    """Without what Markdown or its HTML would take for its own."""
    for sign in "\\|*_<>`[]":
        words = words.replace(sign, f"\\{sign}")
    return words.replace("\n", " ")


def _figure(drawing: Drawing) -> str:
    suffix = next(s for s in ("png", "svg", "gif") if s in drawing.files)
    return f"![{_plain(drawing.alt)}](figures/{drawing.name}.{suffix})\n\n{_plain(drawing.caption)}"
