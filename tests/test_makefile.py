"""The Makefile hands its variables on whole, to a `node-run` that says what it was given."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ECHO = """#!/usr/bin/env python3
import json, sys
print(json.dumps(sys.argv[1:]))
"""


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """An environment that counts as installed, with programs that print their words."""
    (tmp_path / "bin").mkdir()
    for name in ("node-run", "tensorboard"):
        program = tmp_path / "bin" / name
        program.write_text(ECHO)
        program.chmod(0o755)
    (tmp_path / "installed").touch()
    return tmp_path


def make(venv: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "-s", "-C", str(ROOT), "--no-print-directory", f"VENV={venv}", *words]
    clean = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(command, env=clean, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("target", ["reproduce-all", "list", "report", "smoke", "tensorboard"])
def test_an_output_path_with_signs_of_the_shell_arrives_whole(target: str, venv: Path) -> None:
    done = make(venv, target, "OUT=my runs; 'x' (1)")
    words = json.loads(done.stdout.splitlines()[-1])
    assert {"outputs=my runs; 'x' (1)", "my runs; 'x' (1)"} & set(words)


def test_seeds_are_counted_from_zero_and_smoke_has_its_own_folder(venv: Path) -> None:
    words = json.loads(make(venv, "smoke", "SEEDS=3").stdout)
    assert {"seed=0,1,2", "profile=smoke", "jobs=2", "outputs=outputs/smoke"} <= set(words)
    assert "seed=0" in json.loads(make(venv, "list").stdout)


@pytest.mark.parametrize("seeds", ["0", "two", "2.5"])
def test_seeds_that_are_no_number_are_refused(seeds: str, venv: Path) -> None:
    done = make(venv, "list", f"SEEDS={seeds}")
    assert done.returncode == 2
    assert f"SEEDS={seeds} must be a whole number >= 1" in done.stderr


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone as it is before anything was made in it."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


def targets() -> list[str]:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    return phony[1].split()


@pytest.mark.parametrize("flag", ["-n", "--dry-run", "-nk", "-kn"])
@pytest.mark.parametrize("target", targets())
def test_a_dry_run_in_a_fresh_clone_prints_the_commands_and_writes_nothing(
    target: str, flag: str, fresh: Path
) -> None:
    before = sorted(fresh.rglob("*"))
    words = ["make", flag, "--no-print-directory", "-C", str(fresh), target, "OUT=o"]
    clean = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(words, env=clean, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(fresh.rglob("*")) == before
    if target in ("reproduce-all", "smoke"):
        assert "node-run reproduce profile=" in done.stdout


@pytest.mark.parametrize(("flag", "code"), [("-n", 0), ("-t", 0), ("-q", 1)])
@pytest.mark.parametrize("target", ["reproduce-all", "smoke"])
def test_flags_that_keep_make_from_running_anything_hold_for_a_reproduction(
    target: str, flag: str, code: int, venv: Path
) -> None:
    for name in ("pyproject.toml", "constraints.txt"):
        (venv / name).write_bytes((ROOT / name).read_bytes())
    (venv / "installed").touch()
    done = make(venv, flag, "-C", str(venv), "-f", str(ROOT / "Makefile"), target)
    assert done.returncode == code
    assert '["reproduce"' not in done.stdout


def test_a_reproduction_is_told_the_number_of_jobs_of_make(venv: Path) -> None:
    program = venv / "bin" / "node-run"
    program.write_text("#!/bin/sh\necho $MAKEFLAGS\n")
    assert "-j3" in make(venv, "-j3", "reproduce-all").stdout
