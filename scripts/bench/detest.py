"""Evaluations of f at equal true error over DETEST, ours against torchdiffeq's.

The measurement is that of docs/numerics.md (scripts/numerics_measure.py). Nothing is timed.
"""

import torch

from bench.setting import Record, Setting

DEFAULT = "dopri5 / dopri5"
"""The pair of the default solver of conf/config.yaml."""


def measured(setting: Setting) -> Record:
    """The mean ratio for every pair of solvers, and the ratio for every problem."""
    import numerics_measure

    torch.set_num_threads(1)
    _, found = numerics_measure.detest()
    return {"pairs": {pair: comparison._asdict() for pair, comparison in found.items()}}
