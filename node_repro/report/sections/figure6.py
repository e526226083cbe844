"""Figure 6: the computation graph of the latent ODE, as a drawing."""

from node_repro.report.artifact import Drawing
from node_repro.report.section import Parts, section
from node_repro.report.selection import Selection


@section(
    order=175,
    name="figure6",
    title="Figure 6: the computation graph of the latent ODE",
    source="section 5, figure 6",
)
def figure6(selection: Selection) -> Parts:
    """The model behind table 2 and figures 8 to 10, as it is built here."""
    from node_repro.figures.journal import styled
    from node_repro.figures.latent_model import latent_ode_graph

    yield Drawing(
        "figure6",
        "A recognition network reads the observations backwards in time, and its last state gives "
        "the posterior of the latent state at t0. The ODE carries a sample of it to all times, "
        "where a decoder predicts the data.",
        "Circles joined by arrows: data and recognition states, the posterior, latent states, and "
        "predictions, also after the last observation.",
        styled(latent_ode_graph),
    )
