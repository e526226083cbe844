"""The ODE-RNN: a recurrent network whose state follows an ODE between observations.

Between observations dh/dt = f(h); at an observation a gated recurrent unit changes h. Predictions
are read from h, so beyond the last observation they follow the network's own field.

References:
    Rubanova, Chen, Duvenaud: Latent ODEs for irregularly-sampled time series, 2019, section 3.1.
"""

from typing import Annotated

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn

from node_repro.data.series import Series
from node_repro.data.sharding import Noise
from node_repro.models import SeriesModel, SeriesPrediction
from node_repro.models.latent_ode import LatentField
from node_repro.models.series import observation_times, read_observations, read_rows
from node_repro.ode.block import SolvesODE
from node_repro.ode.gradients import GradientMethod
from node_repro.ode.odeint import odeint
from node_repro.ode.solution import Stats
from node_repro.ode.solver import Solver


class GapField(nn.Module):
    """Time derivatives of states over gaps of different lengths, which are solved as one system.

    y (..., H + 1) is a state h and the length of its gap. With time as a fraction s of the gap,
    dh/ds = gap f(h), and the gap is constant.
    """

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.dynamics = LatentField(hidden, width)

    def forward(self, s: Tensor, y: Tensor) -> Tensor:
        h, gap = y[..., :-1], y[..., -1:]
        return torch.cat((gap * self.dynamics(s, h), torch.zeros_like(gap)), dim=-1)


class GapBlock(SolvesODE):
    """Maps states to those after a gap. Its stats are the sum over the solves of a sequence."""

    def __init__(self, f: GapField, *, solver: Solver, gradient: GradientMethod) -> None:
        self.solves: list[Stats] = []
        super().__init__(solver=solver, gradient=gradient)
        self.f = f

    @property
    def stats(self) -> Stats:
        """The cost of all solves since `stats` was set."""
        total = Stats()
        for stats in self.solves:
            total.add(stats)
            if stats.backward is not None:
                total.add_backward(stats.backward)
        return total

    @stats.setter
    def stats(self, stats: Stats) -> None:
        self.solves = [stats]

    def forward(self, h: Tensor, gap: Tensor) -> Tensor:
        """The states (..., H) after gaps (...), from the states h (..., H) before them."""
        y0, unit = torch.cat((h, gap[..., None]), dim=-1), torch.tensor([0.0, 1.0]).double()
        solution = odeint(self.f, y0, unit, solver=self.solver, gradient=self.gradient)
        self.solves.append(solution.stats)
        return solution.ys[-1][..., :-1]


class ODERNN(SeriesModel):
    """Predicts each observation from those before it; h = 0 at the grid's first time.

    All series are solved as one system, from one observation of each to its next. The solver's time
    runs from 0 to 1 over each gap.

    Args:
        features: Number of channels.
        hidden: Dimensions of the state.
        width: Units in the hidden layer of the dynamics.
        rollout: Share of each series, its last observations, that the network does not read but
            predicts by its field alone, as it does beyond the series.
        solver: Solver of the ODE.
        gradient: How the solution is differentiated.
    """

    def __init__(
        self,
        *,
        features: int,
        hidden: Annotated[int, Ge(1)],
        width: Annotated[int, Ge(1)],
        rollout: Annotated[float, Ge(0), Lt(1)],
        solver: Solver,
        gradient: GradientMethod,
    ) -> None:
        super().__init__()
        self.block = GapBlock(GapField(hidden, width), solver=solver, gradient=gradient)
        self.cell = nn.GRUCell(features, hidden)
        self.out = nn.Linear(hidden, features)
        self.rollout = rollout

    def forward(self, series: Series, noise: Noise) -> SeriesPrediction:
        """Means of the observations (1, B, n, D), each given those before it that are read."""
        before, _ = self._states(series, read_observations(series, self.rollout))
        means = self.out(before)
        return SeriesPrediction(means[None], means.new_zeros(len(means)))

    def predict(self, series: Series, places: Tensor, noise: Noise) -> Tensor:
        """Means (1, B, m, D) at increasing grid indices `places` (B, m), each given the
        observations before it. The state is solved from place to place.
        """
        known = torch.searchsorted(series.at.contiguous(), places.contiguous())
        known = torch.minimum(known, series.count[:, None])  # observations before each place
        clocks, target = self._clocks(series), series.grid.to(series.x)[places]
        _, after = self._states(series, series.count[:, None])
        h, t, read = after[:, 0], clocks[:, :1], torch.zeros_like(known[:, :1])
        states = []
        for j in range(places.shape[1]):
            now = known[:, j : j + 1]
            h = torch.where(now > read, read_rows(after, now)[:, 0], h)
            t = torch.where(now > read, clocks.gather(1, now), t)
            h = self.block(h, target[:, j] - t[:, 0])
            t, read = target[:, j : j + 1], now
            states.append(h)
        return self.out(torch.stack(states, dim=1))[None]

    def _states(self, series: Series, read: Tensor) -> tuple[Tensor, Tensor]:
        """The states just before each observation (B, n, H), and those after 0, 1, ..., n
        observations (B, n + 1, H), of which the first `read` (B, 1) of each series are read.
        """
        self.block.stats = Stats()
        gaps = self._clocks(series).diff(dim=1)
        h = series.x.new_zeros(len(gaps), self.cell.hidden_size)
        before, after = [], [h]
        for i in range(gaps.shape[1]):
            before.append(self.block(after[-1], gaps[:, i]))
            after.append(torch.where(i < read, self.cell(series.x[:, i], before[-1]), before[-1]))
        return torch.stack(before, dim=1), torch.stack(after, dim=1)

    @staticmethod
    def _clocks(series: Series) -> Tensor:
        """The grid's first time and those of the observations, (B, n + 1)."""
        t = observation_times(series)
        return torch.cat((series.grid[:1].to(t).expand(len(t), 1), t), dim=1)
