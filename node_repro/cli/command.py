"""`main`: parse the command line and run its jobs.

hydra composes configurations, sweeps, and completes words for the shell. It is configured not to
print tracebacks, create directories or set up logging. torch is imported after the configuration
has been checked.
"""

import gc
import os
import sys
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from node_repro.cli.failures import describe, failures_file, show, wants_traceback
from node_repro.cli.jobs import Jobs, refuse_torchrun
from node_repro.config import ConfigError
from node_repro.config.choices import choices_in, conf_folder, load, split_config_dirs
from node_repro.config.compose import composition_error, read, register_experiments
from node_repro.config.experiments import replace_former_names
from node_repro.config.overrides import refuse_wrong
from node_repro.config.usage import usage
from node_repro.reproduce.parent import stop_with_parent
from node_repro.runs.environment import processes

_INTERRUPTED, _CLOSED_PIPE = 130, 141


def main() -> int:
    """Run the command line of this process; returns the exit code."""
    gc.disable()  # imports create a million objects; scanning them takes a quarter of the start
    stop_with_parent()
    try:
        code = _command(sys.argv[1:])
        if sys.stdout:  # None if it was closed before the start
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # `node-run --help | head -1`
        if sys.stdout:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _CLOSED_PIPE
    except KeyboardInterrupt:
        show("interrupted")
        return _INTERRUPTED
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    except Exception as error:
        if wants_traceback(sys.argv):
            traceback.print_exc()
        code, reason = describe(error, in_job=False)
        show(reason)
        return code
    finally:
        gc.enable()


def _command(argv: Sequence[str]) -> int:
    if "--version" in argv:
        print(f"node-run {version('node-repro')}")
        return 0
    if "--help" in argv or "-h" in argv:
        choices = choices_in(split_config_dirs(argv)[1])
        print(usage(choices, load(conf_folder() / "config.yaml")), end="")
        return 0
    verb = next(iter(split_config_dirs(argv)[0]), None)
    if verb in ("list", "reproduce"):
        words = list(argv)
        words.remove(verb)
        return _all_experiments(verb, words)
    if not argv and processes() == 1:
        show(
            "no task given: training an ODE-Net on MNIST (task=mnist model=odenet profile=quick); "
            "`node-run --help` lists the choices"
        )
    return _hydra_jobs(argv)


def _all_experiments(verb: str, words: Sequence[str]) -> int:
    """Run `node-run list` or `node-run reproduce`."""
    from node_repro.reproduce.request import read_request

    refuse_torchrun(f"`{verb}`")
    request, choices = read_request(words)
    if verb == "list":
        from node_repro.reproduce.listing import format_list

        print(format_list(request, choices), end="")
        return 0
    from node_repro.reproduce.run import reproduce

    return reproduce(request, choices)


def _hydra_jobs(argv: Sequence[str]) -> int:
    """Check the overrides; hydra then composes a configuration for every job and calls `Jobs`."""
    import hydra
    import hydra.errors

    os.environ["HYDRA_FULL_ERROR"] = "1"  # hydra raises exceptions instead of exiting
    argv, notices = replace_former_names(argv)
    sys.argv[1:] = argv  # hydra reads them there
    for notice in notices:
        show(notice)
    args = _parse(argv)
    choices = choices_in([Path(args.config_dir)] if args.config_dir else [])
    given = [] if args.shell_completion else read(args.overrides, choices)
    if args.multirun:
        if not given:
            raise ConfigError("-m runs one job per value of a list: add one, as in seed=0,1")
        refuse_torchrun("`-m`")
    refuse_wrong(given, choices, multirun=args.multirun)
    register_experiments(choices)
    outputs = next(
        (str(one.values[0]) for one in given if one.key == "outputs" and one.values), "outputs"
    )
    jobs = Jobs(choices, list(sys.argv), args.multirun, failures_file(Path(outputs)))
    decorate = hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")
    try:
        decorate(jobs)()
    except hydra.errors.ConfigCompositionException as error:
        raise composition_error(error, choices) from error.__cause__
    return jobs.end()


def _parse(argv: Sequence[str]) -> Namespace:
    """Parse the flags as hydra will; raises ConfigError instead of printing argparse's usage."""
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> NoReturn:
        raise ConfigError(f"{message}; `node-run --help` has examples")

    parser: ArgumentParser = get_args_parser()
    parser.error = refuse
    return parser.parse_args(argv)
