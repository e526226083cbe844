"""Table 2 with other spirals: how much its comparisons depend on the data, which are unknown."""

from typing import NamedTuple

from node_repro.report.artifact import Claim
from node_repro.report.comparisons import claim_lower
from node_repro.report.section import Parts, section
from node_repro.report.selection import Seeds, Selection
from node_repro.report.statistics import Spread
from node_repro.report.tables import Column, Table

SPIRALS = {
    "quiet": ("noise 0.05", 0.05),
    "noisy": ("noise 0.2", 0.2),
    "loose": ("half as many turns", 0.1),
    "tight": ("twice as many turns", 0.1),
    "example": ("torchdiffeq's example", 0.3),
}
"""What differs from the spirals of table 2, and the standard deviation of the noise."""
RIVALS = {"rnn": "RNN", "gru_dt": "GRU with time gaps"}
MODELS = {"latent_ode": "latent ODE", **RIVALS}


class Spirals(NamedTuple):
    """A row of the table."""

    name: str
    noise: float
    models: dict[str, Seeds]

    def error(self, model: str) -> Spread | None:
        """RMSE ahead against noisy points."""
        return self.models[model].test("rmse_noisy")


COLUMNS: list[Column[Spirals]] = [
    Column("spirals", lambda spirals: spirals.name),
    Column("noise", lambda spirals: spirals.noise, 2),
    *(
        Column(name, lambda spirals, model=model: spirals.error(model), 3)
        for model, name in MODELS.items()
    ),
    Column(
        "mean of the training points",
        lambda spirals: spirals.models["latent_ode"].diagnostic("rmse_noisy_of_mean"),
        3,
    ),
    Column("seeds", lambda spirals: spirals.models["latent_ode"].count),
]


@section(
    order=185,
    name="other_spirals",
    title="Table 2 with other spirals",
    source="not in the paper, which gives neither the spirals' formula nor their noise",
    experiments=[f"spirals_{name}_{model}" for name in SPIRALS for model in MODELS],
)
def other_spirals(selection: Selection) -> Parts:
    """The comparison of table 2 with other noise, with other numbers of turns, with 30 of 100
    points observed, and on the data of torchdiffeq's example, with all 100. The latent ODE is
    trained with annealed noise.
    """
    rows = {
        key: Spirals(
            name,
            noise,
            {model: selection.seeds(f"spirals_{key}_{model}") for model in MODELS},
        )
        for key, (name, noise) in SPIRALS.items()
    }
    for rival in RIVALS:
        yield from (_better(row, rival, selection.decides) for row in rows.values())
    caption = "RMSE of the 100 points ahead, against noisy points, and the noise in it."
    shown = [row for row in rows.values() if any(row.models.values())]
    yield Table("other_spirals", caption, COLUMNS, shown)


def _better(spirals: Spirals, rival: str, decides: bool) -> Claim:
    return claim_lower(
        f"{spirals.name}: the latent ODE's error is below that of the {RIVALS[rival]}",
        spirals.error("latent_ode"),
        spirals.error(rival),
        3,
        decides=decides,
        of_paper=False,
    )
