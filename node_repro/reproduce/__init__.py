"""The whole reproduction as a plan: every experiment with every seed, probes, and the report last.

`plan` makes targets, `makefile` writes them down for make, `drive` runs them, `states` and `cost`
say how far it is, `listing` prints it. Nothing here imports torch or hydra: what an experiment
chooses is read off its yaml.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ask:
    """What is to be reproduced.

    jobs: processes at a time. extra: overrides for every process whose choices have the key.
    """

    experiments: tuple[str, ...]
    profile: str
    seeds: tuple[int, ...]
    outputs: str
    jobs: int
    extra: tuple[str, ...]


@dataclass(frozen=True)
class Experiment:
    """What one yaml of conf/experiment comes to in a profile.

    feeds: its first comment, "Table 1, ODE-Net: ...". chosen: group -> choice. epochs is None where
    iterations decides.
    """

    name: str
    feeds: str
    chosen: dict[str, str]
    iterations: int | None
    epochs: int | None
    solves_ode: bool


@dataclass(frozen=True)
class Target:
    """One process: a training run, or a probe of one.

    words: what follows `node-run`. probe, after: None for a run; else the probe's yaml and the name
    of the target whose run it measures. key: changes with everything that makes it another process.
    """

    name: str  # "table1_odenet-seed0", "tolerance-table1_odenet-seed0"
    experiment: str
    seed: int
    probe: str | None
    after: str | None
    words: tuple[str, ...]
    key: str
    seconds: float  # estimated, on one thread
