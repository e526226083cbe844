"""The job: read the runs, make the artifacts, write the report below outputs/report."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from node_repro.config import Config
from node_repro.config.choices import Choices, conf_folder
from node_repro.report import Artifact, csv, html, latex, markdown
from node_repro.report.contents import CONTENTS
from node_repro.report.runs import Runs, read_runs
from node_repro.report.words import tally
from node_repro.runs import OutputError
from node_repro.runs.atomic import reason, write_atomically

FOLDER = "report"
TRIALS = ("smoke", "demo")  # profiles too short to say anything
OURS = {"figures": (".svg", ".png", ".gif"), "tables": (".csv", ".tex")}


def report(config: Config) -> int:
    """Writes index.html, report.md, figures/ and tables/; returns the exit code 0.

    Raises:
        OutputError: a file cannot be written.
    """
    outputs = Path(config.outputs)
    choices = Choices([conf_folder()])
    names = choices.names("experiment")
    experiments = {name: choices.comment("experiment", name) for name in names}
    runs = read_runs(outputs, config.profile, experiments)
    artifacts = [section(runs) for section in CONTENTS]
    files = written(artifacts, runs)
    try:
        _write(outputs / FOLDER, files)
    except OSError as error:
        raise OutputError(f"Cannot write {outputs / FOLDER}: {reason(error)}.") from error
    print(_said(outputs / FOLDER, artifacts, runs))
    return 0


def written(artifacts: Sequence[Artifact], runs: Runs) -> dict[str, bytes]:
    """Every file of the report: its path below the report's folder, and its content."""
    about = _about(runs)
    page = html.page(artifacts, runs.profile, about)
    document = markdown.document(artifacts, runs.profile, html.TITLE, about)
    files = {"index.html": page.encode(), "report.md": document.encode()}
    for artifact in artifacts:
        for table in artifact.tables:
            if table.rows:
                files[f"tables/{table.name}.csv"] = csv.lines(table).encode()
                files[f"tables/{table.name}.tex"] = latex.tabular(table).encode()
        for drawing in artifact.drawings:
            for suffix, content in drawing.files.items():
                files[f"figures/{drawing.name}.{suffix}"] = content
    return files


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """All files, each whole; what an earlier report had besides is removed."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_bytes() != content:
            write_atomically(path, content)
    for part, suffixes in OURS.items():
        for path in sorted((folder / part).glob("*")):
            if path.suffix in suffixes and f"{part}/{path.name}" not in files:
                path.unlink()


def _about(runs: Runs) -> str:
    done = [run for run in runs.found if run.result]
    if not done:
        return f"There are no finished runs of profile {runs.profile} yet."
    seeds = len({run.seed for run in done})
    experiments = len({run.experiment for run in done})
    newest = max(run.since for run in done)[:10]
    trial = " This profile only shows that everything runs: its verdicts mean nothing."
    return (
        f"Made of {len(done)} finished runs of {experiments} experiments, profile {runs.profile}, "
        f"up to {seeds} {'seed' if seeds == 1 else 'seeds'} each; the newest is of "
        f"{newest or 'no date'}. Numbers are measured, means ± standard deviations over seeds; "
        f"nothing is chosen by its result.{trial if runs.profile in TRIALS else ''}"
    )


def _said(folder: Path, artifacts: Iterable[Artifact], runs: Runs) -> str:
    artifacts = list(artifacts)
    missing = dict.fromkeys(one for artifact in artifacts for one in artifact.missing)
    done = sum(run.result is not None for run in runs.found)
    lines = [
        f"report     {folder / 'index.html'}",
        f"runs       {done} finished, profile {runs.profile}",
        f"claims     {tally(artifacts)}",
    ]
    if missing:
        first = next(iter(missing))
        lines.append(f"missing    {len(missing)}, listed at the report's end; `{first.command}`")
    return "\n".join(lines)
