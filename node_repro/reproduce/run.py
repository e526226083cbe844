"""`node-run reproduce`: run the jobs, write the report, and summarise failures."""

import subprocess
from collections.abc import Sequence

from node_repro.config.choices import Choices
from node_repro.config.overrides import literal
from node_repro.reproduce import Job, Request
from node_repro.reproduce.launchers import command
from node_repro.reproduce.launchers.opening import open_launcher
from node_repro.reproduce.plan import make_plan
from node_repro.reproduce.pool import Pool
from node_repro.runs.atomic import writing
from node_repro.runs.duration import format_duration
from node_repro.runs.lock import Lock

_SAVED = (75, 130, 143)
"""Exit codes of a run that was stopped by a signal and saved a checkpoint."""


def reproduce(request: Request, choices: Choices) -> int:
    """Run the jobs that are not done, and write the report.

    Returns:
        0, 1 if a job or the report failed, 130 or 143 if a signal stopped the reproduction.

    Raises:
        ConfigError: The request cannot be composed, or its launcher is not available.
        LaunchError: The launcher does not accept the jobs.
        OutputError: The folder cannot be written, or another reproduction is using it.
    """
    plan = make_plan(request, choices)
    left = [job for job in plan if not job.done]
    with writing(request.folder):
        request.folder.mkdir(parents=True, exist_ok=True)
        lock, _ = Lock.take(request.folder / "lock")
        try:
            return _run(request, plan, left)
        finally:
            lock.release()


def _run(request: Request, plan: Sequence[Job], left: Sequence[Job]) -> int:
    folder = request.folder
    launcher = open_launcher(request.launcher, request.launcher_options, request.jobs, folder)
    print(_outlook(plan, left, request))
    print(f"logs   {folder}", flush=True)
    pool = Pool(launcher, request.most_jobs, folder)
    pool.run(left)
    report = 0 if pool.stopped else _write_report(request)
    failed = [job for job in left if job.name not in pool.ends or pool.ends[job.name].code != 0]
    for job in failed:
        if line := _describe(job, pool):
            print(line)
    again = "; rerun the same command to continue" if failed or report else ""
    done = f"{len(plan) - len(failed)} of {len(plan)} are done{again}"
    print(f"{'stopped' if pool.stopped else 'end   '} {done}")
    return pool.stopped or (1 if failed or report else 0)


def _outlook(plan: Sequence[Job], left: Sequence[Job], request: Request) -> str:
    """The number of processes and the estimated time of the remaining ones."""
    seconds = sum(job.seconds or 0 for job in left) / (request.most_jobs or 1)
    unknown = sum(job.seconds is None for job in left)
    besides = f" and {unknown} of unknown length" if unknown else ""
    of_one = " of one core" if request.most_jobs is None else ""
    done = f"{len(plan)} processes, {len(plan) - len(left)} done"
    return f"plan   {done}; {format_duration(seconds)}{of_one}{besides} to go"


def _write_report(request: Request) -> int:
    """Write the report of all finished runs; returns its exit code."""
    outputs = literal("outputs", str(request.outputs))
    words = ["job=report", f"profile={request.profile}", outputs]
    log = request.folder / "report.log"
    with log.open("wb") as file:
        code = subprocess.run(command(words), stdout=file, stderr=subprocess.STDOUT, check=False)
    if code.returncode:
        print(f"failed  report: {_last_line(log.read_bytes())}  ({log})")
    else:
        print(f"report {request.outputs / 'report' / 'index.html'}")
    return code.returncode


def _describe(job: Job, pool: Pool) -> str | None:
    """A line on a job that is not done; None if a signal prevented its start."""
    end, log = pool.ends.get(job.name), pool.log(job)
    if end is None:
        return None if pool.stopped else f"left    {job.name}: {job.after} failed"
    if pool.stopped and end.code is None:
        return None
    if end.code in _SAVED:
        because = f": {end.reason}" if end.reason else ""
        return f"saved   {job.name}{because}  ({log})"
    if pool.stopped and end.code is not None and end.code < 0:
        return f"ended   {job.name}: stopped by signal {-end.code}, nothing saved  ({log})"
    reason = end.reason or _last_line(log.read_bytes()) or f"exit code {end.code}"
    return f"failed  {job.name}: {reason}  ({log})"


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("node-run: ") if lines else ""
