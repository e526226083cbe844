"""The job: read the runs, make the sections, write the report below outputs/report."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from node_repro.config import Config
from node_repro.config.choices import choices_in
from node_repro.report.artifact import Artifact
from node_repro.report.explore import PAGE, render_explore
from node_repro.report.render import group_claims, render_html, render_latex, render_markdown
from node_repro.report.section import find_sections
from node_repro.report.selection import Selection, select_runs
from node_repro.report.tables import to_csv
from node_repro.runs.atomic import write_atomically, writing

FOLDER = "report"
TRIALS = ("smoke", "demo")
"""Profiles whose trainings are too short for conclusions."""
SUFFIXES = {"figures": (".svg", ".png", ".gif"), "tables": (".csv", ".tex")}
"""Files that a report writes, and removes if an earlier report left them."""


def report(config: Config) -> int:
    """Writes index.html, report.md, explore.html, figures/ and tables/; returns the exit code 0.

    Raises:
        OutputError: A file cannot be written.
    """
    outputs = Path(config.outputs)
    experiments = choices_in().names("experiment")
    selection = select_runs(outputs, config.profile, experiments)
    artifacts = [section(selection) for section in find_sections()]
    with writing(outputs / FOLDER):
        _write(outputs / FOLDER, make_files(artifacts, selection))
    print(_summary(outputs / FOLDER, artifacts, selection))
    return 0


def make_files(artifacts: Sequence[Artifact], selection: Selection) -> dict[str, bytes]:
    """All files of the report: path below the report's folder -> content."""
    about = _about(selection)
    page = render_explore(selection)
    explore = PAGE if page else None
    texts = {
        "index.html": render_html(artifacts, selection.profile, about, explore),
        "report.md": render_markdown(artifacts, selection.profile, about, explore),
    }
    if page:
        texts[PAGE] = page
    figures: dict[str, bytes] = {}
    for artifact in artifacts:
        for table in artifact.tables:
            if table.rows:
                texts[f"tables/{table.name}.csv"] = to_csv(table)
                texts[f"tables/{table.name}.tex"] = render_latex(table)
        for drawing in artifact.drawings:
            for suffix, content in drawing.files.items():
                figures[f"figures/{drawing.name}.{suffix}"] = content
    return {name: text.encode() for name, text in texts.items()} | figures


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_bytes() != content:
            write_atomically(path, content)
    if PAGE not in files:
        (folder / PAGE).unlink(missing_ok=True)
    for part, suffixes in SUFFIXES.items():
        for path in sorted((folder / part).glob("*")):
            if path.suffix in suffixes and f"{part}/{path.name}" not in files:
                path.unlink()


def _about(selection: Selection) -> str:
    runs, profile = selection.finished, selection.profile
    if not runs:
        return f"There are no finished runs of profile {profile} yet."
    seeds = len({run.seed for run in runs})
    newest = max(run.since for run in runs)[:10]
    about = (
        f"Made of {len(runs)} finished runs of {len({run.experiment for run in runs})} "
        f"experiments, profile {profile}, up to {seeds} {'seed' if seeds == 1 else 'seeds'} each; "
        f"the newest is of {newest or 'unknown date'}. Numbers are means ± standard deviations "
        "over seeds; no run is selected by its result."
    )
    if profile in TRIALS:
        about += " This profile only shows that everything runs: its verdicts mean nothing."
    return about


def _summary(folder: Path, artifacts: Sequence[Artifact], selection: Selection) -> str:
    missing = dict.fromkeys(one for artifact in artifacts for one in artifact.missing)
    claims, checks = group_claims(artifacts)
    lines = [
        f"report     {folder / 'index.html'}",
        f"runs       {len(selection.finished)} finished, profile {selection.profile}",
        f"claims     {claims.verdicts}",
        f"checks     {checks.verdicts}",
    ]
    if missing:
        first = next(iter(missing)).command
        lines.append(f"missing    {len(missing)}, listed at the end of the report; `{first}`")
    return "\n".join(lines)
