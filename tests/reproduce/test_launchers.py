"""Sweeps in other processes: hydra's launchers run every job and every failure is named."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

WORDS = ["experiment=demo_field_fit", "profile=smoke", "threads=1", "rtol=1e-9,1e-3,1e-8"]
LAUNCHERS = {
    "joblib": ("hydra_plugins.hydra_joblib_launcher", ["hydra.launcher.n_jobs=2"]),
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", ["hydra.launcher.timeout_min=10"]),
}


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_runs_every_job_and_names_every_failure(launcher: str, tmp_path: Path) -> None:
    module, options = LAUNCHERS[launcher]
    if not _is_installed(module):
        pytest.skip(f"{module} is not installed")
    words = ["-m", *WORDS, f"outputs={tmp_path}", f"hydra/launcher={launcher}", *options]
    done = subprocess.run(
        [sys.executable, "-m", "node_repro.cli", *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    summary = done.stderr[done.stderr.index("node-run: 2 jobs failed:") :].splitlines()
    assert [line.split("(")[0] for line in summary[1:3]] == ["  job 1 ", "  job 3 "]
    assert all("rtol=" in line and "float32" in line for line in summary[1:3])
    (result,) = tmp_path.glob("demo_field_fit/*/seed0/result.json")
    assert result.is_file()
