"""The launchers of clusters: what they submit, how a job ended, and what is missing."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest

from node_repro.config import ConfigError
from node_repro.reproduce import Job
from node_repro.reproduce.launchers import End, LaunchError, command
from node_repro.reproduce.launchers.ray import Ray
from node_repro.reproduce.launchers.slurm import Slurm
from node_repro.reproduce.pool import Pool

JOB = Job("a-seed0", ("experiment=a", "outputs=my runs"))


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a Slurm that is a script."""
    folder, programs = tmp_path / "slurm", tmp_path / "programs"
    folder.mkdir()
    programs.mkdir()
    for name in ("sbatch", "squeue", "scancel"):
        (programs / name).symlink_to(Path(__file__).with_name("fake_slurm.sh"))
    monkeypatch.setenv("FAKE_SLURM", str(folder))
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    return folder


def test_slurm_gets_the_command_and_the_options_of_a_job(slurm: Path, tmp_path: Path) -> None:
    launcher = Slurm({"gpus_per_node": "1", "exclusive": "true"}, tmp_path)
    launcher.start(JOB, tmp_path / "a.log")
    options = (slurm / "job1" / "options").read_text().split()
    assert {"--gpus-per-node=1", "--exclusive", "--job-name=a-seed0"} <= set(options)
    assert f"--output={tmp_path}/a.log" in options
    script = (slurm / "job1" / "script").read_text()
    assert script.splitlines()[-1].startswith(f"exec {sys.executable} -m node_repro.cli")
    assert script.endswith(" experiment=a 'outputs=my runs'\n")
    assert launcher.ended() == {}
    (slurm / "job1" / "state").write_text("COMPLETED 0")
    assert launcher.ended() == {"a-seed0": End(0)}
    assert launcher.ended() == {}


@pytest.mark.parametrize(
    ("state", "code", "words"),
    [
        ("FAILED 1024", 4, ""),  # 4 * 256: exit code 4, which the log explains
        ("FAILED 9", -9, "job 1 of Slurm: failed by signal 9"),
        ("CANCELLED 36608", 143, "job 1 of Slurm: cancelled"),  # 143 * 256: checkpoint saved
        ("CANCELLED 0", None, "job 1 of Slurm: cancelled"),  # while it waited
        ("TIMEOUT 36608", 143, "job 1 of Slurm: timeout"),
        ("NODE_FAIL 0", None, "job 1 of Slurm: node_fail"),
        ("", None, "Slurm does not know any more how job 1 ended"),
    ],
)
def test_a_job_of_slurm_that_failed_has_a_reason(
    slurm: Path, tmp_path: Path, state: str, code: int | None, words: str
) -> None:
    launcher = Slurm({}, tmp_path)
    launcher.start(JOB, tmp_path / "a.log")
    (slurm / "job1" / "state").write_text(state)
    assert launcher.ended() == {"a-seed0": End(code, words)}


def test_a_job_that_is_still_in_the_queue_is_not_submitted_again(
    slurm: Path, tmp_path: Path
) -> None:
    Slurm({}, tmp_path).start(JOB, tmp_path / "a.log")
    again = Slurm({}, tmp_path)
    again.start(JOB, tmp_path / "a.log")
    assert len(list(slurm.glob("job*"))) == 1
    other = Slurm({}, tmp_path)
    other.start(Job("a-seed0", ("experiment=a", "rtol=1e-3")), tmp_path / "a.log")
    (end,) = other.ended().values()
    assert end.code is None and "`scancel 1`" in end.reason
    (slurm / "job1" / "state").write_text("COMPLETED 0")
    assert again.ended() == {"a-seed0": End(0)}
    Slurm({}, tmp_path).start(JOB, tmp_path / "a.log")
    assert len(list(slurm.glob("job*"))) == 2


def test_a_slurm_that_does_not_answer_for_a_while_ends_no_job(
    slurm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    launcher = Slurm({}, tmp_path)
    launcher.start(JOB, tmp_path / "a.log")
    (slurm / "down").touch()
    assert launcher.ended() == {} == launcher.ended()
    assert capsys.readouterr().out.count("Unable to contact slurm controller") == 1
    with pytest.raises(LaunchError, match="Unable to contact"):
        launcher.start(Job("b-seed0", ()), tmp_path / "b.log")
    with pytest.raises(ConfigError, match="Unable to contact"):
        Slurm({}, tmp_path)


def test_stopping_cancels_the_jobs_of_slurm(slurm: Path, tmp_path: Path) -> None:
    launcher = Slurm({}, tmp_path)
    launcher.stop(kill=False)
    assert not (slurm / "cancelled").exists()
    launcher.start(JOB, tmp_path / "a.log")
    launcher.stop(kill=False)
    launcher.stop(kill=True)
    assert (slurm / "cancelled").read_text().splitlines() == ["1", "--signal=KILL --full 1"]


def test_what_a_cluster_needs_is_said(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"launcher\.output="):
        Slurm({"output": "x.log"}, tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="sbatch"):
        Slurm({}, tmp_path)
    for ray in (None, ModuleType("ray")):  # an import of it fails, or finds a folder of the name
        monkeypatch.setitem(sys.modules, "ray", ray)
        with pytest.raises(ConfigError, match="pip install ray"):
            Ray({}, tmp_path)


@dataclass
class Small:
    """A launcher whose jobs end at the next look, and that takes only some at a time."""

    most: int
    poll_seconds: float = 0.0
    running: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)

    def start(self, job: Job, log: Path) -> None:
        if len(self.running) == self.most:
            raise LaunchError("too many jobs")
        self.running.append(job.name)
        self.started.append(job.name)

    def ended(self) -> Mapping[str, End]:
        return {self.running.pop(0): End(0)}

    def stop(self, *, kill: bool) -> None:
        self.running.clear()

    def close(self) -> None:
        self.stop(kill=True)


def test_a_job_that_is_not_accepted_waits_for_another_to_end(tmp_path: Path) -> None:
    jobs = [Job("probe", (), after="c"), *(Job(name, ()) for name in "abc")]
    launcher = Small(2)
    pool = Pool(launcher, None, tmp_path)
    pool.run(jobs)
    assert launcher.started == ["a", "b", "c", "probe"]
    assert set(pool.ends) == set(launcher.started)
    with pytest.raises(LaunchError, match="too many"):
        Pool(Small(0), None, tmp_path).run(jobs)


def test_without_a_limit_all_runs_are_submitted_at_once(tmp_path: Path) -> None:
    launcher = Small(9)
    seen: list[int] = []
    ended = launcher.ended

    def count() -> Mapping[str, End]:
        seen.append(len(launcher.running))
        return ended()

    launcher.ended = count
    Pool(launcher, None, tmp_path).run([Job(name, ()) for name in "abcd"])
    assert seen == [4, 3, 2, 1]
    Pool(launcher, 1, tmp_path).run([Job(name, ()) for name in "ab"])
    assert seen[4:] == [1, 1]


def test_the_command_of_a_job_is_that_of_this_python() -> None:
    assert command(("job=report",))[0] == sys.executable
