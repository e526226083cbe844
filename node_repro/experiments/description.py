"""`Experiment`: description of one experiment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

OWN_DATA = {"data.seed": None}
"""Every seed draws data of its own, so that the spread over seeds contains that of the data."""


@dataclass(frozen=True)
class Experiment:
    """A named configuration: its purpose and its differences from the defaults.

    Args:
        name: The name in `experiment=NAME`, which is also the folder of its runs.
        purpose: One line, shown by `node-run list` and `--help`.
        feeds: The table or figure that reports its runs, as in "Table 1"; None if there is none.
        overrides: Overrides equivalent to `experiment=NAME`: the choice of a group
            ("model": "odenet") or the value of a key ("model.stem": "conv"). Values may
            interpolate other keys (`${...}`).
        probes: The probes that `node-run reproduce` runs on every seed of the experiment.
        former_names: Earlier names of the experiment, which are accepted in `experiment=` and under
            which its runs are found.
    """

    name: str
    purpose: str
    feeds: str | None = None
    overrides: Mapping[str, object] = field(default_factory=dict)
    probes: tuple[str, ...] = ()
    former_names: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """ "Table 1: ODE-Net, ..."; the purpose alone if no table or figure reports it."""
        return f"{self.feeds}: {self.purpose}" if self.feeds else self.purpose

    @property
    def names(self) -> tuple[str, ...]:
        """The current name, followed by the former ones."""
        return (self.name, *self.former_names)

    def choice(self, group: str) -> str | None:
        """The experiment's choice in a group; None for the default."""
        value = self.overrides.get(group)
        return value if isinstance(value, str) else None
