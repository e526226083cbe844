"""Hamiltonian Monte Carlo: Markov chains whose proposals are ends of Hamiltonian paths.

The training is the warm-up: every iteration is one transition of all chains, and the step size or
tolerance is adapted to an acceptance rate by stochastic approximation. Testing runs the chains on
with what the warm-up found, for a given number of evaluations of the gradient.

A proposal (q', p') is accepted with probability min(1, exp(H(q, p) - H(q', p'))). This makes the
chain exact for leapfrog and other reversible steps that preserve volume. For other solvers it does
not, and the sampled moments tell by how much.

References:
    Duane, Kennedy, Pendleton, Roweth: Hybrid Monte Carlo, 1987.
    Neal: MCMC using Hamiltonian dynamics, 2011.
"""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Annotated, ClassVar, NamedTuple, Unpack

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from node_repro.data.generated import seeded_generator
from node_repro.data.potential import Potential
from node_repro.data.sharding import ShareError
from node_repro.models import Sampler
from node_repro.models.hamilton_equations import energy
from node_repro.tasks import Loss, Picture, Task, TaskSettings
from node_repro.tasks.arrays import to_numpy
from node_repro.tasks.density_grid import GRID, Square
from node_repro.tasks.markov_chains import Estimate, effective_sample_size, estimate

START = 2.0  # standard deviation of the chains' starts over the density's root mean square
JITTER = 0.5  # a path takes its time times 1 - JITTER to 1 + JITTER
VALIDATION_SHARE = 0.1  # evaluations of the validation, as a share of the test's
FEWEST = 8  # transitions of an evaluation, so that chains can be split
SIDE = 4.5  # half the side of the picture of samples
SHOWN = 2_000  # samples in that picture
PATHS = 6  # paths in the picture of energy errors


class Draw(NamedTuple):
    """Random numbers of one transition of C chains.

    p: momenta (C, D). u: uniform numbers (C,). jitter: factor of the time of the paths. start:
    positions (C, D) at which the chains begin; None where they go on.
    """

    p: Tensor
    u: Tensor
    jitter: float
    start: Tensor | None = None


class Run(NamedTuple):
    """One run of C chains: the split and the random numbers' key, and one row for each chain."""

    split: str
    chain: Tensor


class Transition(NamedTuple):
    """Next positions (C, D), and for each chain (C,) the acceptance probability, the error of the
    energy (infinite for a failed path), and the evaluations of the gradient.
    """

    q: Tensor
    acceptance: Tensor
    error: Tensor
    evaluations: Tensor


class Samples(NamedTuple):
    """Chains (C, N, D), and the acceptance, errors and evaluations (C, N) of their transitions."""

    q: Tensor
    acceptance: Tensor
    error: Tensor
    evaluations: Tensor


class HMC(Task[Sampler, Draw | Run]):
    """Samples a density exp(-U) by Hamiltonian Monte Carlo.

    The number of chains is trainer.batch_size, the number of transitions of the warm-up is
    trainer.iterations.

    Args:
        data: The potential U.
        time: Mean time of a path. Each takes a time drawn uniformly between half of it and one and
            a half of it, the same for all chains.
        acceptance: Acceptance rate to which the warm-up adapts the step size or tolerance.
        evaluations: Evaluations of the gradient of U by each chain in the test.
        settings: Settings of the run.
    """

    loss_metric = "adaptation"
    selection_metric = "acceptance_error"
    evaluates_whole_split = True
    metrics: ClassVar[Mapping[str, str]] = {
        "adaptation": "gradient of the warm-up",
        "acceptance": "acceptance",
        "acceptance_error": "|acceptance - target|",
        "energy_error": "|error of the energy|",
        "evaluations": "evaluations of a path",
        "failed": "failed paths",
        "ess_per_1000": "effective samples per 1,000 evaluations",
    }

    def __init__(
        self,
        *,
        data: Potential,
        time: Annotated[float, Gt(0)],
        acceptance: Annotated[float, Gt(0), Lt(1)],
        evaluations: Annotated[int, Ge(1)],
        **settings: Unpack[TaskSettings],
    ) -> None:
        super().__init__(**settings)
        self.potential, self.time = data, time
        self.target, self.evaluations = acceptance, evaluations
        self._tested: Samples | None = None

    @property
    def sizes(self) -> Mapping[str, int]:
        return {"chains": self.batch_size, "dimensions": self.potential.dimensions}

    def training_batch(self, step: int) -> Draw:
        draw = self._draw("warm-up", step)
        if step > 0:
            return draw
        scale = START * self.potential.moments.square.sqrt().to(draw.p)
        return draw._replace(start=scale * self._draw("start", 0).p)

    def loss(self, model: Sampler, batch: Draw) -> Loss:
        """Make one transition; the loss has the gradient target - acceptance in log_scale.

        This is the stochastic approximation of Andrieu and Thoms (A tutorial on adaptive MCMC,
        2008, section 4.2).
        """
        if len(batch.p) != len(model.positions):
            raise ShareError("chains cannot be shared by several processes: start one process")
        with torch.no_grad():
            if batch.start is not None:
                model.positions.copy_(batch.start)
            made = self.transition(model, model.positions, batch)
            model.positions.copy_(made.q)
        acceptance = made.acceptance.mean()
        loss = (self.target - acceptance) * (model.log_scale - model.log_scale.detach() + 1)
        return Loss(loss, {"acceptance": acceptance, "evaluations": made.evaluations.mean()})

    def transition(self, model: Sampler, q: Tensor, draw: Draw) -> Transition:
        """One transition of all chains from positions q (C, D)."""
        end = model.propose(self.potential, q, draw.p, self.time * draw.jitter)
        error = energy(self.potential, end.q, end.p) - energy(self.potential, q, draw.p)
        error = error.nan_to_num(nan=torch.inf, posinf=torch.inf)
        acceptance = (-error).exp().clamp(max=1.0)
        accepted = draw.u < acceptance
        return Transition(
            torch.where(accepted[:, None], end.q, q), acceptance, error, end.evaluations
        )

    def evaluation_batches(self, split: str) -> Iterator[Run]:
        yield Run(split, torch.arange(self.batch_size))

    def scores(self, model: Sampler, batch: Run) -> Mapping[str, Tensor]:
        share = VALIDATION_SHARE if batch.split == "validation" else 1.0
        samples = self.sample(model, batch.split, share * self.evaluations)
        if batch.split == "test":
            self._tested = samples
        failed = samples.error.isinf()
        return {
            "acceptance": samples.acceptance.mean(1),
            "energy_error": samples.error.masked_fill(failed, 0.0).abs().mean(1),
            "evaluations": samples.evaluations.mean(1),
            "failed": failed.double().mean(1),
            "ess_per_1000": self.ess_per_1000(samples).expand(len(failed)),
        }

    def finalize_scores(self, means: Mapping[str, float]) -> Mapping[str, float]:
        return {**means, "acceptance_error": abs(means["acceptance"] - self.target)}

    def sample(self, model: Sampler, key: str, evaluations: float) -> Samples:
        """Run the chains on from the model's positions, until each has made its evaluations.

        Args:
            model: The sampler.
            key: Names the random numbers, together with the seed.
            evaluations: Evaluations of the gradient by each chain, on average over the chains.
        """
        q, spent, made = model.positions, 0.0, list[Transition]()
        for step in count():
            if spent >= evaluations and step >= FEWEST:
                break
            made.append(self.transition(model, q, self._draw(key, step)))
            q = made[-1].q
            spent += max(1.0, float(made[-1].evaluations.mean()))
        return Samples(*(torch.stack(part, 1).double().cpu() for part in zip(*made, strict=True)))

    def ess_per_1000(self, samples: Samples) -> Tensor:
        """Effective samples per 1,000 evaluations (), of the coordinate or square with the fewest.

        Autocorrelations are about the exact means.
        """
        mean, square, fourth = self.potential.moments
        exact = torch.cat((mean, square))
        variance = torch.cat((square - mean.square(), fourth - square.square()))
        sizes = effective_sample_size(observables(samples.q), exact, variance)
        return 1000 * sizes.min() / samples.evaluations.sum()

    def reversibility_error(self, model: Sampler) -> float:
        """RMS distance from the start of paths that are followed to their end and back.

        The paths start at the model's positions. The distance is 0 up to rounding for reversible
        steps.
        """
        draw = self._draw("reversibility", 0)
        q, p, _ = model.propose(self.potential, model.positions, draw.p, self.time)
        back = model.propose(self.potential, q, -p, self.time)
        return float((back.q - model.positions).square().sum(1).mean().sqrt())

    def diagnostics(self, model: Sampler) -> Mapping[str, object]:
        """What the warm-up found, convergence, and moments beside the exact ones."""
        samples = self._tested or self.sample(model, "test", self.evaluations)
        found = estimate(observables(samples.q))
        return {
            **model.accuracy,
            "transitions": samples.q.shape[1],
            "evaluations_per_chain": float(samples.evaluations.sum(1).mean()),
            "r_hat": float(found.r_hat.max()),
            "reversibility_error": self.reversibility_error(model),
            "moments": self.moments(found),
        }

    def moments(self, found: Estimate) -> dict[str, dict[str, float]]:
        """First and second moments of the first and the last coordinate, beside the exact ones.

        The deviation is in Monte Carlo standard errors.
        """
        size = self.potential.dimensions
        exact = torch.cat(self.potential.moments[:2])
        places = {
            "mean_first": 0,
            "mean_last": size - 1,
            "square_first": size,
            "square_last": 2 * size - 1,
        }
        return {
            name: {
                "exact": float(exact[i]),
                "mean": float(found.mean[i]),
                "standard_error": float(found.standard_error[i]),
                "deviation": float((found.mean[i] - exact[i]) / found.standard_error[i]),
            }
            for name, i in places.items()
        }

    def pictures(self, model: Sampler, *, final: bool) -> Iterator[Picture]:
        if not final:
            return
        from node_repro.figures import sampling

        samples = self._tested or self.sample(model, "test", self.evaluations)
        square = Square(SIDE, GRID)
        points = square.points(torch.zeros((), dtype=torch.float64))
        density = self.potential.planar_density(points).view(GRID, GRID)
        shown = samples.q[..., -2:].transpose(0, 1).flatten(0, 1)[:SHOWN]
        yield Picture("samples.png", sampling.samples(density.numpy(), to_numpy(shown), SIDE))
        yield Picture("energy.png", sampling.energy_errors(list(self._energy_errors(model))))

    def _energy_errors(self, model: Sampler) -> Iterator[tuple]:
        """Times (T,) and errors of the energy (T,) of paths from the model's positions."""
        draw = self._draw("paths", 0)
        for q, p in list(zip(model.positions.split(1), draw.p.split(1), strict=True))[:PATHS]:
            ts, qs, ps = model.path(self.potential, q, p, self.time)
            values = energy(self.potential, qs, ps)
            yield to_numpy(ts), to_numpy(values - values[0])

    def _draw(self, key: str, step: int) -> Draw:
        generator = seeded_generator(self.seed, key, step)
        numbers = {"generator": generator, "dtype": torch.float64}
        size = (self.batch_size, self.potential.dimensions)
        p, u = torch.randn(size, **numbers), torch.rand(size[0], **numbers)
        jitter = 1 + JITTER * (2 * float(torch.rand((), **numbers)) - 1)
        like = {"device": self.device, "dtype": self.dtype}
        return Draw(p.to(**like), u.to(**like), jitter)


def observables(q: Tensor) -> Tensor:
    """All coordinates and their squares, (C, N, 2 D), of chains (C, N, D)."""
    return torch.cat((q, q.square()), dim=2)
