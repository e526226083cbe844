"""Named plans: a profile, and how many seeds each family of experiments needs to decide its claims.

`node-run reproduce plan=reference` runs one. The seeds of a plan are 0, 1, ...; hyper-parameters
are chosen on seeds from 100 on, which no plan uses.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class NamedPlan:
    """Args:
    profile: The profile of every run.
    seeds: Pattern of names of experiments -> number of seeds; the first that matches counts.
    """

    profile: str
    seeds: Mapping[str, int]

    def seeds_of(self, experiment: str) -> tuple[int, ...]:
        """The seeds of an experiment; one for an experiment that no pattern matches."""
        matching = (n for pattern, n in self.seeds.items() if fnmatchcase(experiment, pattern))
        return tuple(range(next(matching, 1)))


PLANS = {
    "reference": NamedPlan(
        "reference",
        {
            "table1_*": 3,  # an hour for each run on two cores
            "fig4_*": 5,
            "fig5_*": 5,
            "fig7_*": 5,
            "table2_*": 10,
            "spirals_*": 5,
            "toys_*": 10,
            "fig1_*": 10,
            "hmc_*": 5,
            "physics_*": 5,
        },
    )
}
