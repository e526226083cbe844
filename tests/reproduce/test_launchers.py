"""Runs in other processes: hydra's launchers and those of `node-run reproduce`, with real runs."""

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


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["slurm", "ray"])
def test_a_plan_on_a_cluster_names_a_failure_and_is_finished_by_repeating(
    launcher: str, tmp_path: Path
) -> None:
    if launcher == "ray" and not _is_installed("ray"):
        pytest.skip("ray is not installed")
    slurm, programs = tmp_path / "slurm", tmp_path / "programs"
    slurm.mkdir()
    programs.mkdir()
    (slurm / "runs").touch()
    for name in ("sbatch", "squeue", "scancel"):
        (programs / name).symlink_to(Path(__file__).with_name("fake_slurm.sh"))
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "FAKE_SLURM": str(slurm),
        "PATH": f"{programs}:{os.environ['PATH']}",
    }
    outputs = tmp_path / "outputs"
    blocked = outputs / "fig4_u1_nf_2"

    def reproduce() -> subprocess.CompletedProcess[str]:
        words = ["experiment=fig4_u1_nf_2,fig4_u1_nf_8", "profile=smoke", f"outputs={outputs}"]
        return subprocess.run(
            [sys.executable, "-m", "node_repro.cli", "reproduce", *words, f"launcher={launcher}"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )

    outputs.mkdir()
    blocked.touch()  # a file in place of the folder of the run
    first = reproduce()
    assert first.returncode == 1, first.stderr
    (failed,) = (line for line in first.stdout.splitlines() if line.startswith("failed"))
    assert "fig4_u1_nf_2-seed0" in failed and str(blocked) in failed
    assert "1 of 2 are done" in first.stdout
    blocked.unlink()
    again = reproduce()
    assert again.returncode == 0, again.stdout
    starts = [line.split()[-1] for line in again.stdout.splitlines() if "  start  " in line]
    assert starts == ["fig4_u1_nf_2-seed0"]
    assert "2 of 2 are done" in again.stdout
