"""`node-run`: compose, validate, build, run. The only module that imports hydra.

hydra does the composing, the sweeping and the tab completion. What it is kept from is printing
tracebacks, making directories and setting up logging: every fault ends as one line on stderr and an
exit code (`exit_code` of the exception's class). torch is imported after validation, by `run`.
"""

import os
import sys
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from node_repro.config import Config, ConfigError
from node_repro.config.choices import Choices, conf_folder, leaves, load, malformed
from node_repro.config.overrides import Given, misplaced_key, refuse_wrong, unreadable
from node_repro.config.usage import usage
from node_repro.config.validation import validate

_INTERNAL, _USAGE, _RESOURCES, _OUTPUT, _INTERRUPTED, _CLOSED_PIPE = 1, 2, 5, 6, 130, 141
_STOPS_A_SWEEP = (75, 130, 143)  # preempted, SIGINT, SIGTERM: saved and left


def main() -> int:
    """Run the command line; returns the exit code."""
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
        if "debug=true" in sys.argv:
            traceback.print_exc()
        code, reason = _judge_outside(error)
        return _say(reason, code)


def compose(overrides: Sequence[str]) -> Config:
    """The validated configuration for some overrides; for tests and scripts."""
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import open_dict

    choices = Choices([conf_folder()])
    refuse_wrong(_read(overrides, choices), choices, multirun=False)
    with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
        cfg = hydra.compose("config", list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    return _validated(cfg, choices)


def _command(argv: Sequence[str]) -> int:
    if "--version" in argv:
        print(f"node-run {version('node-repro')}")
        return 0
    if "--help" in argv or "-h" in argv:
        folder = conf_folder()
        print(usage(Choices([folder]), load(folder / "config.yaml")), end="")
        return 0
    import hydra
    import hydra.errors

    os.environ["HYDRA_FULL_ERROR"] = "1"  # hydra raises instead of printing and leaving
    args = _parse(argv)
    folders = [Path(args.config_dir)] if args.config_dir else []
    choices = Choices([*folders, conf_folder()])
    if not args.shell_completion:
        given = _read(args.overrides, choices)
        if args.multirun and not given:
            raise ConfigError("-m runs one job for each value of a list: give one, as in seed=0,1")
        if args.multirun and _rank() is not None:
            raise ConfigError(
                "torchrun starts the processes of one run, and -m runs many: start torchrun once "
                "for each, or node-run -m without it"
            )
        refuse_wrong(given, choices, multirun=args.multirun)
    jobs = Jobs(choices, list(sys.argv), many=args.multirun)
    decorate = hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")
    try:
        decorate(jobs)()
    except hydra.errors.ConfigCompositionException as error:
        key = getattr(error.__cause__, "full_key", None)
        if not key:
            raise
        raise misplaced_key(key, f"the chosen {key.partition('.')[0]}", choices) from error
    return jobs.summary() if args.multirun else jobs.code


def _parse(argv: Sequence[str]) -> Namespace:
    """The flags as hydra will read them; ConfigError in place of argparse's usage lines."""
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> NoReturn:
        raise ConfigError(f"{message}; `node-run --help` has examples")

    parser: ArgumentParser = get_args_parser()
    parser.error = refuse
    return parser.parse_args(argv)


def _read(overrides: Sequence[str], choices: Choices) -> list[Given]:
    """The overrides taken apart by hydra's own grammar."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ChoiceSweep, Override
    from hydra.errors import HydraException

    def values(override: Override) -> tuple[object, ...]:
        if not override.is_sweep_override():
            return (override.value(),)
        sweep = override.value()
        if isinstance(sweep, ChoiceSweep):
            return tuple(getattr(item, "text", item) for item in sweep.list)
        return ()

    parser = OverridesParser.create()
    given = []
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            raise unreadable(text, choices) from error
        action = next((sign for sign in ("++", "+", "~") if text.startswith(sign)), "")
        package = f"@{override.package}" if override.package else ""
        key = f"{override.key_or_group}{package}"
        sweep = override.is_sweep_override()
        given.append(Given(text, action, key, values(override), sweep))
    return given


def _validated(cfg: object, choices: Choices) -> Config:
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import DictConfig

    assert isinstance(cfg, DictConfig)
    typed: set[str] = set()
    for one in _read(_overrides(), choices):
        inside = one.values[0] if one.values else None
        section = dict(leaves(inside, f"{one.key}.")) if isinstance(inside, dict) else {one.key}
        typed |= set(section)
    return validate(cfg, dict(HydraConfig.get().runtime.choices), typed, choices)


def _overrides() -> list[str]:
    """This job's overrides as typed: `${...}` in them stays as it is."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    return [str(text) for text in OmegaConf.to_container(HydraConfig.get().overrides.task) or []]


class JobError(Exception):
    """What a job in another process left with; the sentence and the exit code survive pickling."""

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(reason, exit_code)
        self.exit_code = exit_code

    def __str__(self) -> str:
        return str(self.args[0])


def _do(config: Config, overrides: Sequence[str], command: Sequence[str]) -> int:
    """The job that was asked for; returns the exit code. torch is imported where it is needed."""
    from node_repro.run import run

    return run(config, overrides, command)


@dataclass
class Jobs:
    """The function that hydra calls once a job; a failing job is noted and costs no other job.

    In a worker process of a parallel launcher it is a copy of this object that is called: there the
    error is passed on, and hydra brings back the first one.
    """

    choices: Choices
    command: list[str]
    many: bool  # a sweep
    process: int = field(default_factory=os.getpid)
    count: int = 0
    code: int = 0  # of the first failing job
    failures: list[str] = field(default_factory=list)

    def __call__(self, cfg: object) -> None:
        overrides = _overrides()
        self.count += 1
        try:
            config = _validated(cfg, self.choices)
            code = _do(config, overrides, self.command)
            reason = f"left with exit code {code}"
        except Exception as error:
            if "debug=true" in overrides:
                traceback.print_exc()
            code, reason = _judge(error)
            if os.getpid() != self.process:
                _say(reason, code)
                raise JobError(reason, code) from error
        if code:
            self._note(code, reason, " ".join(overrides) if self.many else "")
        if code in _STOPS_A_SWEEP:
            raise SystemExit(code)

    def _note(self, code: int, reason: str, job: str) -> None:
        self.code = self.code or code
        self.failures.append(f"job {self.count} ({job}): {reason}" if job else reason)
        if not reason.startswith("left with"):
            _say(self.failures[-1], code)

    def summary(self) -> int:
        """List all failures of a sweep; returns the first one's exit code."""
        if self.failures:
            _say(f"{len(self.failures)} of {self.count} jobs failed:", self.code)
            for failure in self.failures:
                print(f"  {failure}", file=sys.stderr)
        return self.code


def _judge(error: Exception) -> tuple[int, str]:
    """Exit code and sentence for what a job raised."""
    code = getattr(error, "exit_code", None)
    if code is not None:
        return code, _in_one_line(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return _RESOURCES, f"out of memory: {_in_one_line(error)}"
    if isinstance(error, BrokenPipeError):
        raise error
    reason = f"internal error: {type(error).__name__}: {_in_one_line(error)}"
    return _INTERNAL, f"{reason}; run again with debug=true for the traceback"


def _judge_outside(error: Exception) -> tuple[int, str]:
    """Exit code and sentence for what was raised before, between or after jobs."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import MarkedYAMLError

    if isinstance(error, OSError) and error.errno is not None:  # hydra's own have none
        return _OUTPUT, f"the output folder cannot be used: {_in_one_line(error)}"
    usage_faults = (HydraException, OmegaConfBaseException, MarkedYAMLError, ValueError)
    if isinstance(error, usage_faults) and not hasattr(error, "exit_code"):
        return _USAGE, _in_one_line(error)
    return _judge(error)


def _in_one_line(error: Exception) -> str:
    from yaml import MarkedYAMLError

    if isinstance(error, MarkedYAMLError):
        error = malformed(error)
    notes = (f"({note})" for note in getattr(error, "__notes__", ()))
    lines = (line.strip() for line in (*str(error).splitlines(), *notes))
    return " ".join(line for line in lines if line) or type(error).__name__


def _rank() -> int | None:
    """Which of the processes of one run this is; None without torchrun."""
    told = "MASTER_ADDR" in os.environ and int(os.environ.get("WORLD_SIZE", 1)) > 1
    return int(os.environ["RANK"]) if told and "RANK" in os.environ else None


def _say(sentence: str, code: int) -> int:
    if _rank() and "torch" not in sys.modules:  # until then all processes do, and find, the same
        return code
    print(f"node-run: {sentence}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
