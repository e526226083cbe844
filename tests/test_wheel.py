"""The wheel alone, without the checkout, finds its configuration from any folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*build, str(PROJECT)], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run_installed(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; import node_repro.cli as cli; print(cli.__file__); sys.exit(cli.main())"
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=site.parent,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--help"], "exit codes:"),
        (["--cfg", "job"], "rtol: 0.001"),
        (["job=report"], "0 finished"),
    ],
)
def test_installed_wheel_runs_from_another_folder(
    unpacked: Path, words: list[str], expected: str
) -> None:
    done = run_installed(unpacked, *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(unpacked))
    assert expected in done.stdout


def test_wheel_ships_every_yaml_and_nothing_else_in_conf(unpacked: Path) -> None:
    shipped = {path.relative_to(unpacked / "node_repro" / "conf") for path in
               (unpacked / "node_repro" / "conf").rglob("*") if path.is_file()}  # fmt: skip
    there = {path.relative_to(PROJECT / "conf") for path in (PROJECT / "conf").rglob("*.yaml")}
    assert shipped == there


def test_wheel_offers_the_command(unpacked: Path) -> None:
    (entry_points,) = unpacked.glob("*.dist-info/entry_points.txt")
    assert "node-run = node_repro.cli:main" in entry_points.read_text()
