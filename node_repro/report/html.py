"""The report as one HTML page that needs no other file, no script and no network."""

import base64
import re
import struct
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from node_repro.report import Artifact, Claim, Drawing, Table, Verdict
from node_repro.report.absent import commands
from node_repro.report.pictures import GIF_BYTES
from node_repro.report.words import is_spread, is_text, made_of, overview, pair

SVG_BYTES = 150_000  # beyond, the PNG is shown
HALF = 1.7  # width over height, below which two pictures stand side by side
SHORT = 20  # letters, up to which a cell is kept in one line
LONG = 40  # rows, beyond which a table is folded
TITLE = "Neural Ordinary Differential Equations, reproduced"
KINDS = {"svg": "image/svg+xml", "png": "image/png", "gif": "image/gif"}
CLASSES = {
    Verdict.HOLDS: "yes",
    Verdict.WITHIN: "yes",
    Verdict.PARTLY: "part",
    Verdict.FAILS: "no",
    Verdict.OUTSIDE: "no",
    Verdict.INCOMPARABLE: "none",
    Verdict.OPEN: "none",
}


def page(artifacts: Sequence[Artifact], profile: str, about: str) -> str:
    """The whole page. about: one sentence on what the report was made of."""
    style = files("node_repro.report").joinpath("page.css").read_text(encoding="utf-8")
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, '
        f'initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>{escape(TITLE)}</title><style>\n{style}</style>"
    )
    sections = "\n".join(_section(artifact, profile) for artifact in artifacts)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n'
        f"<header><h1>{escape(TITLE)}</h1>\n<p>{escape(about)}</p></header>\n"
        f"{_contents(artifacts)}\n<main>\n{_overview(artifacts)}\n{sections}\n"
        f"{_all_missing(artifacts)}\n</main>\n</body></html>\n"
    )


def _contents(artifacts: Sequence[Artifact]) -> str:
    links = "\n".join(
        f'<li><a href="#{escape(a.name)}">{escape(a.title)}</a></li>' for a in artifacts
    )
    return (
        f'<nav aria-label="Contents"><h2>Contents</h2><ul><li><a href="#claims">Claims and '
        f'verdicts</a></li>\n{links}\n<li><a href="#missing">What is missing</a></li></ul></nav>'
    )


def _overview(artifacts: Sequence[Artifact]) -> str:
    parts = []
    for artifact in artifacts:
        if any(claim.verdict is not Verdict.OPEN for claim in artifact.claims):
            link = f'<a href="#{escape(artifact.name)}">{escape(artifact.title)}</a>'
            parts.append(f"<h3>{link}</h3>\n{_claims(artifact.claims, rules=False)}")
    body = "\n".join(parts) or "<p>Nothing was measured yet.</p>"
    return (
        f'<section id="claims"><h2>Claims and verdicts</h2>\n<p>{escape(overview(artifacts))}</p>\n'
        f"{body}</section>"
    )


def _section(artifact: Artifact, profile: str) -> str:
    parts = [
        f'<section id="{escape(artifact.name)}"><h2>{escape(artifact.title)}</h2>',
        f'<p class="source">{escape(artifact.source)}</p><p>{escape(artifact.about)}</p>',
    ]
    parts.append(_claims(artifact.claims, rules=True))
    parts += [_table(table) for table in artifact.tables if table.rows]
    if artifact.drawings:
        figures = "\n".join(_figure(drawing) for drawing in artifact.drawings)
        parts.append(f'<div class="figures">{figures}</div>')
    if not any(table.rows for table in artifact.tables) and not artifact.drawings:
        parts.append('<p class="lacking">There is nothing to show yet.</p>')
    parts += [f'<p class="note">{escape(note)}</p>' for note in artifact.notes]
    if runs := made_of(artifact):
        parts.append(f'<p class="runs">Made of {escape(runs)}.</p>')
    lines = commands(profile, artifact.runs, artifact.probe)
    parts.append(_details("Commands that regenerate this", _code(lines)))
    if artifact.missing:
        parts.append(_details(f"Missing: {len(artifact.missing)}", _code(artifact.missing)))
    return "\n".join([*parts, "</section>"])


def _claims(claims: Sequence[Claim], *, rules: bool) -> str:
    """What was measured, and in one line what was not."""
    known = [claim for claim in claims if claim.verdict is not Verdict.OPEN]
    rows = "\n".join(_claim(claim, rule=rules) for claim in known)
    body = f'<ul class="claims">{rows}</ul>' if known else ""
    if waiting := [claim.text for claim in claims if claim.verdict is Verdict.OPEN]:
        body += f'<p class="note">Not measured yet: {escape("; ".join(waiting))}.</p>'
    return body


def _claim(claim: Claim, *, rule: bool) -> str:
    how = f'<p class="rule">Rule: {escape(claim.rule)}.</p>' if rule else ""
    return (
        f"<li>{_verdict(claim.verdict)}<div><p>{escape(claim.text)}.</p>"
        f'<p class="measured">{escape(claim.measured)}.</p>{how}</div></li>'
    )


def _verdict(verdict: Verdict) -> str:
    return f'<span class="verdict {CLASSES[verdict]}">{escape(verdict.value)}</span>'


def _table(table: Table) -> str:
    spreads = [is_spread(table, i) for i in range(len(table.columns))]
    words = [is_text(table, i) for i in range(len(table.columns))]
    head = "".join(
        f'<th scope="col"{" colspan=2" if spreads[i] else ""}'
        f' class="{"text" if words[i] else "number"}">{escape(column.title)}</th>'
        for i, column in enumerate(table.columns)
    )
    rows = []
    for row in table.rows:
        cells = []
        for i, (cell, column) in enumerate(zip(row, table.columns, strict=True)):
            value, sd = pair(cell, column)
            kind = "number" if not words[i] else "text short" if len(value) <= SHORT else "text"
            if i == 0:
                cells.append(f'<th scope="row">{escape(value)}</th>')
                continue
            shown = _verdict(cell) if isinstance(cell, Verdict) else escape(value)
            cells.append(f'<td class="{kind}">{shown}</td>')
            if spreads[i]:
                cells.append(f'<td class="sd">{escape(sd)}</td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    body = (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(table.caption)}"><table>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{chr(10).join(rows)}</tbody></table></div>"
    )
    if len(rows) > LONG:
        return _details(f"{table.caption} {len(rows)} rows.", body)
    caption = f"<figcaption>{escape(table.caption)}</figcaption>"
    return f'<figure class="table">{caption}{body}</figure>'


def _figure(drawing: Drawing) -> str:
    suffix, content = _shown(drawing)
    caption = f"<figcaption>{escape(drawing.caption)}</figcaption>"
    if suffix == "gif" and len(content) > GIF_BYTES:
        link = f'<a href="figures/{escape(drawing.name)}.gif">animation beside this page</a>'
        return f"<figure><p>{link}</p>{caption}</figure>"
    data = base64.b64encode(content).decode()
    half = ' class="half"' if _ratio(suffix, content) < HALF else ""
    image = f'<img alt="{escape(drawing.alt)}" src="data:{KINDS[suffix]};base64,{data}">'
    if suffix == "gif":
        return _details(drawing.caption, f"<figure>{image}</figure>")
    return f"<figure{half}>{image}{caption}</figure>"


def _ratio(suffix: str, content: bytes) -> float:
    """Width over height of a picture."""
    if suffix == "png":
        width, height = struct.unpack(">II", content[16:24])
    elif suffix == "gif":
        width, height = struct.unpack("<HH", content[6:10])
    else:
        found = re.search(rb'width="([0-9.]+)pt" height="([0-9.]+)pt"', content)
        width, height = (float(side) for side in found.groups()) if found else (1.0, 1.0)
    return width / height


def _shown(drawing: Drawing) -> tuple[str, bytes]:
    """The format that a page shows: a small SVG, else the PNG, else what there is."""
    formats = drawing.files
    if "svg" in formats and len(formats["svg"]) <= SVG_BYTES:
        return "svg", formats["svg"]
    suffix = "png" if "png" in formats else next(iter(formats))
    return suffix, formats[suffix]


def _all_missing(artifacts: Iterable[Artifact]) -> str:
    every = dict.fromkeys(one for artifact in artifacts for one in artifact.missing)
    body = _code(every) if every else "<p>Nothing.</p>"
    return f'<section id="missing"><h2>What is missing</h2>\n{body}</section>'


def _details(title: str, body: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{body}</details>"


def _code(lines: Iterable[object]) -> str:
    text = "\n".join(str(line) for line in lines)
    return f'<pre tabindex="0"><code>{escape(text)}</code></pre>'
