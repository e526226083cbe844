"""The article is made of the committed tables, and the committed runs make the committed report."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "scripts"


def script(name: str, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(SCRIPTS / name), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_number_of_the_article_is_that_of_the_tables() -> None:
    done = script("article.py", "--check")
    assert done.returncode == 0, done.stderr


def test_a_row_that_is_not_in_a_table_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from article import find_row, number

    row = find_row("reference", "figure4", first="U1, CNF", K_or_M="32")
    assert number(row, "parameters", 0) == "8,512"
    with pytest.raises(LookupError, match="no row"):
        find_row("reference", "figure4", first="U9, CNF")


def test_the_report_is_made_again_from_the_committed_runs(tmp_path: Path) -> None:
    for path in (ROOT / "docs/results/reference/runs").glob("*.tar.xz"):
        with tarfile.open(path) as packed:
            packed.extractall(tmp_path, filter="data")
    words = ["job=report", "profile=reference", f"outputs={tmp_path}"]
    command = [sys.executable, "-m", "node_repro.cli", *words]
    subprocess.run(command, check=True, capture_output=True)
    for table in (ROOT / "docs/results/reference/tables").glob("*.csv"):
        again = tmp_path / "report" / "tables" / table.name
        assert again.read_text("utf-8") == table.read_text("utf-8"), table.name


def test_an_archive_of_nothing_is_refused(tmp_path: Path) -> None:
    done = script("archive_runs.py", str(tmp_path), "quick", str(tmp_path / "runs"))
    assert done.returncode == 1 and "no finished runs of profile quick" in done.stderr
    assert not (tmp_path / "runs").exists()
