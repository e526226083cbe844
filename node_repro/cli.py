"""`node-run`: compose, validate, build, run. Only this module and `compose` import hydra.

hydra does the composing, the sweeping and the tab completion. What it is kept from is printing
tracebacks, making directories and setting up logging: every fault ends as one line on stderr and an
exit code (`exit_code` of the exception's class). torch is imported after validation, by `run`.
"""

import os
import sys
import time
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from node_repro import failures, garbage
from node_repro.config import Config, ConfigError
from node_repro.config.choices import Choices, conf_folder, load
from node_repro.config.compose import (
    composed_again,
    composition_error,
    read,
    register_experiments,
    typed_words,
    validated,
)
from node_repro.config.experiments import replace_former_names
from node_repro.config.overrides import refuse_wrong
from node_repro.config.usage import usage
from node_repro.failures import Failure, in_one_line, judge
from node_repro.reproduce.parent import stop_with_parent
from node_repro.runs.environment import SECONDS_TO_TELL, processes

_USAGE, _OUTPUT, _INTERRUPTED, _CLOSED_PIPE = 2, 6, 130, 141
_STOPS_A_SWEEP = (75, 130, 143)  # preempted, SIGINT, SIGTERM: saved and left


def main() -> int:
    """Run the command line; returns the exit code."""
    garbage.leave()
    stop_with_parent()
    try:
        code = _command(sys.argv[1:])
        if sys.stdout:  # None where it was closed before the start
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # `node-run --help | head -1`
        if sys.stdout:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _CLOSED_PIPE
    except KeyboardInterrupt:
        return _say("interrupted", _INTERRUPTED)
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    except Exception as error:
        if _debugs(sys.argv):
            traceback.print_exc()
        code, reason = _judge_outside(error)
        return _say(reason, code)
    finally:
        garbage.collect()


def _command(argv: Sequence[str]) -> int:
    if "--version" in argv:
        print(f"node-run {version('node-repro')}")
        return 0
    if "--help" in argv or "-h" in argv:
        parser = ArgumentParser(add_help=False, allow_abbrev=False)
        parser.add_argument("--config-dir", "-cd", type=Path, action="append", default=[])
        own, folder = parser.parse_known_args(argv)[0].config_dir, conf_folder()
        print(usage(Choices([*own, folder]), load(folder / "config.yaml")), end="")
        return 0
    if argv and argv[0] in ("list", "reproduce"):
        return _whole(argv[0], argv[1:])
    import hydra
    from hydra.errors import ConfigCompositionException

    os.environ["HYDRA_FULL_ERROR"] = "1"  # hydra raises instead of printing and leaving
    argv, notices = replace_former_names(argv)
    sys.argv[1:] = argv  # hydra reads them there
    for notice in notices:
        _say(notice, 0)
    args = _parse(argv)
    folders = [Path(args.config_dir)] if args.config_dir else []
    choices = Choices([*folders, conf_folder()])
    given = [] if args.shell_completion else read(args.overrides, choices)
    if args.multirun and not given:
        raise ConfigError("-m runs one job for each value of a list: give one, as in seed=0,1")
    if args.multirun:
        _refuse_several("`-m`")
    refuse_wrong(given, choices, multirun=args.multirun)
    outputs = next(
        (str(one.values[0]) for one in given if one.key == "outputs" and one.values), "outputs"
    )
    register_experiments(choices)
    notes = failures.notes_file(Path(outputs))
    jobs = Jobs(choices, list(sys.argv), many=args.multirun, notes=notes)
    decorate = hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")
    try:
        decorate(jobs)()
    except ConfigCompositionException as error:
        raise composition_error(error, choices) from error
    return jobs.summary() if args.multirun else jobs.code


def _whole(verb: str, words: Sequence[str]) -> int:
    """All experiments at once: told about, or run."""
    from node_repro.reproduce.request import read_request

    _refuse_several(f"`{verb}`")
    request, choices = read_request(words)
    if verb == "list":
        from node_repro.reproduce.listing import format_list

        print(format_list(request, choices), end="")
        return 0
    from node_repro.reproduce.run import reproduce

    return reproduce(request, choices)


def _parse(argv: Sequence[str]) -> Namespace:
    """The flags as hydra will read them; ConfigError in place of argparse's usage lines."""
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> NoReturn:
        raise ConfigError(f"{message}; `node-run --help` has examples")

    parser: ArgumentParser = get_args_parser()
    parser.error = refuse
    return parser.parse_args(argv)


def _do(config: Config, overrides: Sequence[str], command: Sequence[str]) -> int:
    """The job that was asked for; returns the exit code. torch is imported where it is needed."""
    if config.job != "train":
        _refuse_several(f"job={config.job}")
    if config.job == "report":
        from node_repro.report.job import report

        garbage.collect()
        return report(config)
    if config.job == "probe":
        runs = {Path(path): composed_again(Path(path)) for path in config.runs}
        from node_repro.probes.measure import probe

        garbage.collect()
        return probe(config, runs, overrides)
    if config.job == "compare":
        from node_repro.report.compare import compare

        garbage.collect()
        print(compare(config.runs), end="")
        return 0
    from node_repro.training.run import run

    garbage.collect()
    return run(config, overrides, command)


def _refuse_several(what: str) -> None:
    if processes() > 1:
        raise ConfigError(f"torchrun trains one run on several processes; {what} takes one")


@dataclass
class Jobs:
    """The function that hydra calls once a job; a failing job is noted and costs no other job.

    In a worker process of a parallel launcher, on this host or another, it is a copy of this object
    that is called. What fails there is written to the file `notes`, which the copy shares with this
    one; raised, hydra would bring back the first failure alone.
    """

    choices: Choices
    command: list[str]
    many: bool  # a sweep
    notes: Path
    process: str = field(default_factory=lambda: f"{os.uname().nodename}-{os.getpid()}")
    count: int = 0
    failures: list[Failure] = field(default_factory=list)

    def __call__(self, cfg: object) -> None:
        from hydra.core.hydra_config import HydraConfig

        overrides = typed_words()
        self.count += 1
        try:
            config = validated(cfg, self.choices)
            code = _do(config, overrides, self.command)
            reason = ""
        except Exception as error:
            if _debugs(overrides):
                traceback.print_exc()
            code, reason = judge(error)
        finally:
            if self.many:
                garbage.collect_all()
        if code:
            number = HydraConfig.get().job.num + 1 if self.many else 1
            failure = Failure(number, " ".join(overrides), code, reason)
            if reason:
                _say(failure.told if self.many else reason, code)
            if self.process != f"{os.uname().nodename}-{os.getpid()}":
                failures.write_failure(self.notes, failure)
                return
            self.failures.append(failure)
        if code in _STOPS_A_SWEEP:
            raise SystemExit(code)

    @property
    def code(self) -> int:
        """That of the first failing job, 0 for none."""
        return self.failures[0].code if self.failures else 0

    def summary(self) -> int:
        """List all failures of a sweep; returns the first one's exit code."""
        self.failures += failures.read_failures(self.notes)
        if self.failures:
            of = f" of {self.count}" if self.count else ""
            one = len(self.failures) == 1 and not of
            _say(f"{len(self.failures)}{of} {'job' if one else 'jobs'} failed:", self.code)
            for failure in self.failures:
                print(f"  {failure.told}", file=sys.stderr)
        return self.code


def _judge_outside(error: Exception) -> tuple[int, str]:
    """Exit code and sentence for what was raised before, between or after jobs."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import MarkedYAMLError

    if isinstance(error, OSError) and error.errno is not None:  # hydra's own have none
        return _OUTPUT, f"the output folder cannot be used: {in_one_line(error)}"
    usage_faults = (HydraException, OmegaConfBaseException, MarkedYAMLError, ValueError)
    if isinstance(error, usage_faults) and not hasattr(error, "exit_code"):
        return _USAGE, in_one_line(error)
    return judge(error)


def _debugs(words: Sequence[str]) -> bool:
    """Whether tracebacks are asked for, though the configuration may be what is wrong."""
    return any(word.lower() == "debug=true" for word in words)


def _say(sentence: str, code: int) -> int:
    before = "torch" not in sys.modules  # all processes of a run have done, and found, the same
    if before and processes() > 1 and os.environ["RANK"] != "0":
        time.sleep(SECONDS_TO_TELL)
        return code
    print(f"node-run: {sentence}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
