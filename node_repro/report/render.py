"""The report as HTML and as Markdown, and tables as LaTeX, from the templates in `templates/`.

Inserted text is escaped for its format, unless it is marked as safe with `Markup`.
"""

import base64
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from node_repro.report.artifact import Artifact, Claim, Drawing, Verdict
from node_repro.report.commands import regenerate
from node_repro.report.margins import DECIDING_PROFILES
from node_repro.report.tables import Table

TITLE = "Neural Ordinary Differential Equations, reproduced"
ABOUT_VERDICTS = (
    "A verdict follows from the numbers by a rule, which is given with the claim in its section. "
    "Undecided: the interval allows both answers. Not tested at this budget: the profile trains "
    f"too little to judge the claim; {', '.join(sorted(DECIDING_PROFILES))} train long enough. "
    "Verdicts are not corrected for the number of comparisons."
)
SVG_BYTES = 150_000  # a larger SVG is shown as PNG
GIF_BYTES = 300_000  # a larger animation is linked instead of shown
HALF_WIDTH = 1.7  # pictures with a smaller ratio of width to height stand side by side
LONG_TABLE = 40  # a table with more rows is folded
MIME = {"svg": "image/svg+xml", "png": "image/png", "gif": "image/gif"}
CLASSES = {
    Verdict.HOLDS: "yes",
    Verdict.FAILS: "no",
    Verdict.UNDECIDED: "undecided",
    Verdict.UNTESTED: "none",
    Verdict.OPEN: "none",
    Verdict.INCOMPARABLE: "none",
}

MARKDOWN = {sign: f"\\{sign}" for sign in "\\|*_<>`[]"} | {"\n": " "}
LATEX = {sign: f"\\{sign}" for sign in "&%$#_{}"}
LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
LATEX |= {"–": "--", "“": "``", "”": "''", "L̃": r"$\tilde L$", "⁻": "$^{-}$"}
LATEX |= {raised: f"$^{{{i}}}$" for i, raised in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
LATEX |= {sign: f"${sign}$" for sign in "<>|"} | {"−": "$-$", "′": "$'$"}
LATEX |= {
    sign: f"$\\{command}$"
    for sign, command in (
        ("±", "pm"),
        ("×", "times"),
        ("·", "cdot"),
        ("θ", "theta"),
        ("λ", "lambda"),
        ("∫", "int"),
        ("∞", "infty"),
        ("≤", "le"),
        ("≥", "ge"),
        ("≈", "approx"),
        ("∂", "partial"),
        ("‖", "|"),
    )
}


class Embedded(NamedTuple):
    """A drawing for the HTML page. uri: None if it is a file beside the page."""

    uri: str | None
    is_half: bool
    is_animated: bool


def render_html(
    artifacts: Sequence[Artifact], profile: str, about: str, explore: str | None = None
) -> str:
    """The report as one page that needs no other file, no script and no network.

    Args:
        artifacts: The sections.
        profile: The profile of the runs.
        about: What the report is made of, in words.
        explore: The interactive page beside it, to which it has a link; None if there is none.
    """
    more = {"style": read_template("page.css"), "explore": explore}
    return _render("report.html", artifacts, profile, about, **more)


def render_markdown(
    artifacts: Sequence[Artifact], profile: str, about: str, explore: str | None = None
) -> str:
    """The report as Markdown, with its figures as files beside it. Arguments as for HTML."""
    return _render("report.md", artifacts, profile, about, explore=explore)


def render_latex(table: Table) -> str:
    """A table for a LaTeX document that loads booktabs, in ASCII."""
    return render("table.tex", table=table)


def render(template: str, **values: object) -> str:
    """A template with values; text is escaped for the format of the template's suffix."""
    return _environment(template).get_template(template).render(**values)


def read_template(name: str) -> Markup:
    """A file of the folder templates/ that is put into a page as it is."""
    path = files("node_repro.report").joinpath("templates", *name.split("/"))
    return Markup(path.read_text(encoding="utf-8"))


class ClaimGroup(NamedTuple):
    """The claims of the paper, or the checks of our own, in all sections."""

    title: str
    sections: list[tuple[Artifact, list[Claim]]]

    @property
    def verdicts(self) -> str:
        """The number of claims with each verdict, "3 holds, 1 undecided"."""
        counts = Counter(claim.verdict for _, claims in self.sections for claim in claims)
        return ", ".join(f"{counts[v]} {v.value}" for v in Verdict if counts[v]) or "none"

    @property
    def measured(self) -> list[tuple[Artifact, list[Claim]]]:
        """The measured claims by section, without sections that have none."""
        known = (
            (artifact, [claim for claim in claims if claim.verdict is not Verdict.OPEN])
            for artifact, claims in self.sections
        )
        return [(artifact, claims) for artifact, claims in known if claims]


def group_claims(artifacts: Sequence[Artifact]) -> tuple[ClaimGroup, ClaimGroup]:
    """The claims of the paper, and the checks of our own."""
    return (
        ClaimGroup("Claims of the paper", [(a, a.claims_of_paper) for a in artifacts]),
        ClaimGroup("Checks of our own", [(a, a.own_checks) for a in artifacts]),
    )


def _render(
    template: str, artifacts: Sequence[Artifact], profile: str, about: str, **more: object
) -> str:
    return render(
        template,
        title=TITLE,
        about=about,
        artifacts=artifacts,
        profile=profile,
        groups=group_claims(artifacts),
        about_verdicts=ABOUT_VERDICTS,
        missing=list(dict.fromkeys(one for artifact in artifacts for one in artifact.missing)),
        **more,
    )


@cache
def _environment(template: str) -> Environment:
    suffix = template.rpartition(".")[2]
    environment = Environment(
        loader=PackageLoader("node_repro.report"),
        autoescape=suffix == "html",
        finalize=None if suffix == "html" else _escaper({"md": MARKDOWN, "tex": LATEX}[suffix]),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"embed": _embed, "lines": _lines}
    environment.globals |= {
        "classes": CLASSES,
        "is_verdict": lambda cell: isinstance(cell, Verdict),
        "long_table": LONG_TABLE,
        "made_of": _made_of,
        "open": Verdict.OPEN,
        "regenerate": regenerate,
    }
    return environment


def _escaper(signs: Mapping[str, str]) -> Callable[[object], object]:
    """Escape inserted text, unless it is Markup."""
    longest_first = sorted(signs, key=len, reverse=True)
    pattern = re.compile("|".join(re.escape(sign) for sign in longest_first))

    def escape(value: object) -> object:
        if isinstance(value, Markup):
            return value
        return pattern.sub(lambda found: signs[found[0]], str(value))

    return escape


def _lines(commands: Iterable[object]) -> str:
    return "\n".join(str(command) for command in commands)


def _embed(drawing: Drawing) -> Embedded:
    """A small SVG, else the PNG, else the animation."""
    from PIL import Image

    formats = drawing.files
    pixels = formats.get("png") or formats["gif"]
    with Image.open(io.BytesIO(pixels)) as image:
        is_half = image.width < HALF_WIDTH * image.height
    suffix = "png" if "png" in formats else "gif"
    if 0 < len(formats.get("svg", b"")) <= SVG_BYTES:
        suffix = "svg"
    if suffix == "gif" and len(pixels) > GIF_BYTES:
        return Embedded(None, is_half, True)
    data = base64.b64encode(formats[suffix]).decode()
    return Embedded(f"data:{MIME[suffix]};base64,{data}", is_half, suffix == "gif")


def _made_of(artifact: Artifact) -> str:
    """The runs behind an artifact in one line: their number and origin."""
    runs = [run for run in artifact.runs if run.result is not None]
    facts = {
        "seeds": sorted({run.seed for run in runs}),
        "profile": sorted({run.profile for run in runs}),
        "data": sorted({run.data for run in runs}),
        "device": sorted({run.result.device for run in runs if run.result}),
        "torch": sorted({run.torch for run in runs}),
        "commit": sorted({run.commit for run in runs}),
    }
    count = f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}"
    return "; ".join([count, *(f"{k} {', '.join(map(str, some))}" for k, some in facts.items())])
