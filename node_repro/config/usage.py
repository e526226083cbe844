"""Text of `node-run --help`, made from the declared options and the yaml files."""

from collections.abc import Iterable, Mapping
from textwrap import fill
from typing import Any

from node_repro.config.choices import Choices
from node_repro.config.components import options_of
from node_repro.config.option import Option
from node_repro.config.options import COMPONENTS, GROUPS, root_options
from node_repro.runs.json_values import flatten

_WIDTH = 118
_HEAD = """\
node-run trains the networks of "Neural Ordinary Differential Equations" (Chen et al. 2018).

usage: node-run [group=choice ...] [key=value ...]
       node-run -m key=a,b,c ...     one run for each value (and each combination)
       node-run --cfg job ...        print the configuration and do not run
       node-run list ...             all experiments: purpose, cost, state; seed=0,1,2 profile=
       node-run reproduce ...        run them all, their probes and the report; jobs=2 seed=0,1,2
       node-run reproduce plan=reference   the same with the budgets and seeds that decide claims
       node-run reproduce launcher=slurm   the same as jobs of a cluster (docs/cluster.md)
       node-run job=compare runs=[a,b]   differences and results side by side
       node-run --config-dir DIR ... with your own yaml files in DIR/model/, DIR/experiment/, ...
       node-run --hydra-help         the remaining flags; tab completion: node-run -sc install=bash
"""
_TAIL = """\
examples:
  node-run                                            ODE-Net on MNIST, quick profile
  node-run task=mnist solver=dopri5 rtol=1e-3         the same, spelled out
  node-run experiment=table1_rknet profile=close      a row of table 1, more work
  node-run solver=rk4 gradient.solver=dopri5 gradient.rtol=1e-5
                                                      another solver for the backward solve
  node-run -m experiment=table1_odenet seed=0,1,2     three seeds
  node-run job=probe probe=tolerance experiment=table1_odenet
                                                      measure something on a finished run
  node-run model=resnet model.blocks=1 data=fashion_mnist name=tiny trainer.epochs=1

Rerun the same command to resume an interrupted run. An override whose value contains '=', ',' or a
space needs two pairs of quotes: 'data.root="/my data"'.

exit codes: 0 done, 1 internal error, 2 configuration or usage, 3 data, 4 numerics, 5 resources,
  6 output directory or lock, 7 checkpoint, 130 and 143 interrupted, with a checkpoint saved
"""


def usage(choices: Choices, defaults: dict[str, Any]) -> str:
    """The help text. `defaults` is the content of config.yaml."""
    chosen = {group: name for entry in defaults["defaults"][1:] for group, name in entry.items()}
    values = flatten(defaults) | dict.fromkeys(
        ("trainer.epochs", "trainer.iterations"), "by profile"
    )
    width = max(map(len, choices.names("experiment")))
    return "\n".join(
        [
            _HEAD,
            "groups (* is the default):",
            *_groups(choices, chosen),
            "\nexperiments:",
            *(
                _wrapped(f"  {name:<{width}}  {choices.comment('experiment', name)}", width + 4)
                for name in choices.names("experiment")
            ),
            "\nkeys:",
            *_keys(values),
            "\nkeys of choices [those that have them]:",
            *_choice_keys(choices),
            "",
            _TAIL,
        ]
    )


def _groups(choices: Choices, chosen: Mapping[str, str]) -> Iterable[str]:
    for group, meaning in GROUPS.items():
        if group == "experiment":
            continue
        names = (f"{name}*" if chosen[group] == name else name for name in choices.names(group))
        yield _wrapped(f"  {group:<11} {' '.join(names)}   ({meaning})", 14)


def _keys(values: Mapping[str, Any]) -> Iterable[str]:
    for key, option in root_options().items():
        value = values[key]
        shown = (
            "null" if value is None else str(value).lower() if option.value_type is bool else value
        )
        yield _wrapped(f"  {f'{key}={shown}':<30} {option.summary}; {option.allowed}", 33)


def _choice_keys(choices: Choices) -> Iterable[str]:
    for group in (*COMPONENTS[:2], "solver", *COMPONENTS[2:], "probe"):
        names = choices.names(group)
        owners: dict[Option, list[str]] = {}
        for name in names:
            for option in options_of(choices, group, name).values():
                if not option.dotted:
                    owners.setdefault(option, []).append(name)
        for option in sorted(owners, key=lambda one: one.key):
            where = f" [{', '.join(owners[option])}]" if owners[option] != names else ""
            text = f"  {option.key:<30} {option.summary}; {option.allowed}{where}"
            yield _wrapped(text, 33)


def _wrapped(line: str, indent: int) -> str:
    return fill(line, width=_WIDTH, subsequent_indent=" " * indent, break_on_hyphens=False)
