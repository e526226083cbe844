"""The plan as a makefile: one target a process, its stamp a file of the target's name.

A run's own directory cannot be make's target, as its name holds the name of the data set, which is
known once they are loaded. So a stamp says "this command ended well", with the key of the command
and of conf/; `drive` drops stamps that no longer hold, and `node-run` itself, started again,
continues a run or finds it finished.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from node_repro.reproduce import Target

_HEAD = """\
# Written by `node-run reproduce`, which runs it. One target: make -C {folder} {example}
.PHONY: all
"""
_RULE = """
{name}:{after}
\t@printf '%s  start  %s\\n' "$$(date +%T)" '{name}'
\t@cd {here} && exec {command} > {log} 2>&1
\t@printf '%s  done   %s\\n' "$$(date +%T)" '{name}'; printf '%s\\n' {key} > {name}
"""


def makefile(targets: Sequence[Target], folder: Path, here: Path, node_run: Sequence[str]) -> str:
    """The text of `folder`/Makefile.

    here: where the commands are run. The process of a target is make's own child, without a shell
    between, so that a signal to make reaches it and it can save.
    """
    names = " ".join(target.name for target in targets)
    head = _HEAD.format(folder=folder, example=targets[0].name if targets else "all")
    rules = (
        _RULE.format(
            name=target.name,
            after=f" {target.after}" if target.after else "",
            here=_quoted(str(here)),
            command=" ".join(_quoted(word) for word in (*node_run, *target.words)),
            log=_quoted(str(here / log(folder, target))),
            key=target.key,
        )
        for target in targets
    )
    return f"{head}all: {names}\n{''.join(rules)}"


def log(folder: Path, target: Target) -> Path:
    """Where a target's process writes what it says."""
    return folder / f"{target.name}.log"


def _quoted(word: str) -> str:
    """For the shell, and for make in front of it."""
    return shlex.quote(word).replace("$", "$$")
