"""The jobs of a command: hydra calls `Jobs` for each one to check its configuration and run it."""

import gc
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from node_repro.cli.failures import (
    Failure,
    append_failure,
    describe,
    show,
    take_failures,
    wants_traceback,
)
from node_repro.config import Config, ConfigError
from node_repro.config.choices import Choices
from node_repro.config.compose import composed_again, typed_words, validated
from node_repro.runs.environment import processes

_ENDS_A_SWEEP = (75, 130, 143)  # preempted, SIGINT, SIGTERM: checkpoint saved


def _this_process() -> str:
    return f"{os.uname().nodename}-{os.getpid()}"


@dataclass
class Jobs:
    """The function that hydra calls once per job; a failing job does not stop the others.

    A parallel launcher calls a copy of this object in a worker process, possibly on another host.
    The copy reports failures in a file, because hydra would return only the first exception.

    Args:
        choices: The choices of the configuration.
        command: The command line.
        sweep: Whether there may be several jobs.
        reports: The file for failures in worker processes.
        process: Host and id of the process that made the object.
        count: Number of jobs called in this process.
        failures: Failures of these jobs.
    """

    choices: Choices
    command: list[str]
    sweep: bool
    reports: Path
    process: str = field(default_factory=_this_process)
    count: int = 0
    failures: list[Failure] = field(default_factory=list)

    def __call__(self, cfg: object) -> None:
        from hydra.core.hydra_config import HydraConfig

        overrides = typed_words()
        self.count += 1
        code, reason, every_rank = 0, "", False
        try:
            config = validated(cfg, self.choices)
            if config.job != "train":
                refuse_torchrun(f"job={config.job}")
            every_rank = True  # from here on, the processes of a run may fail for different reasons
            code = run_job(config, overrides, self.command)
        except Exception as error:
            if wants_traceback(overrides):
                traceback.print_exc()
            code, reason = describe(error, in_job=True)
        if code:
            number = HydraConfig.get().job.num + 1 if self.sweep else 1
            failure = Failure(number, " ".join(overrides), code, reason)
            if reason:
                show(str(failure) if self.sweep else reason, every_rank=every_rank)
            if self.process != _this_process():
                append_failure(self.reports, failure)
                return
            self.failures.append(failure)
        if code in _ENDS_A_SWEEP:
            raise SystemExit(code)

    def end(self) -> int:
        """Print the failures of a sweep; returns the exit code of the first failed job, or 0."""
        self.failures += take_failures(self.reports)
        if self.sweep and self.failures:
            total = f" of {self.count}" if self.count else ""
            one = len(self.failures) == 1 and not total
            show(f"{len(self.failures)}{total} {'job' if one else 'jobs'} failed:")
            for failure in self.failures:
                print(f"  {failure}", file=sys.stderr)
        return self.failures[0].code if self.failures else 0


def run_job(config: Config, overrides: Sequence[str], command: Sequence[str]) -> int:
    """Run the configured job; returns the exit code. torch is imported only if it is needed."""
    if config.job == "report":
        from node_repro.report.job import report

        _resume_garbage_collection()
        return report(config)
    if config.job == "probe":
        runs = {Path(path): composed_again(Path(path)) for path in config.runs}
        from node_repro.probes.measure import probe

        _resume_garbage_collection()
        return probe(config, runs, overrides)
    if config.job == "compare":
        from node_repro.report.compare import compare

        _resume_garbage_collection()
        print(compare(config.runs), end="")
        return 0
    from node_repro.training.run import run

    _resume_garbage_collection()
    return run(config, overrides, command)


def _resume_garbage_collection() -> None:
    """Enable garbage collection after the imports, excluding the objects that exist."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def refuse_torchrun(what: str) -> None:
    """Raise ConfigError if torchrun started several processes for anything but a training run."""
    if processes() > 1:
        raise ConfigError(f"torchrun trains one run on several processes; {what} needs one process")
