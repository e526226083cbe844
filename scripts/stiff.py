"""Stiff problems: accuracy and cost of the implicit methods beside scipy's Radau and BDF, and the
training of a stiff neural ODE. Prints the tables of docs/numerics.md.

    python scripts/stiff.py            # all tables
    python scripts/stiff.py learn      # one of orders, costs, learn, dense
"""

import math
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor, nn

from node_repro.ode import RungeKutta, SolverError, odeint
from node_repro.ode.controllers.constant import Constant
from node_repro.ode.controllers.pi import PI
from node_repro.ode.gradients.checkpointed import Checkpointed
from node_repro.ode.gradients.direct import Direct
from node_repro.ode.methods import linear_system
from node_repro.ode.methods.collocation import (
    GAUSS_LEGENDRE_4,
    IMPLICIT_EULER,
    RADAU_IIA_5,
)
from node_repro.ode.methods.diagonally_implicit import ESDIRK54, TRBDF2
from node_repro.ode.methods.dopri5 import DOPRI5

F64 = torch.float64


class Stiff(NamedTuple):
    """A problem with an accurate y(t1) and the smallest scale of every component."""

    name: str
    f: Callable[[Tensor, Tensor], Tensor]
    y0: tuple[float, ...]
    t1: float
    reference: tuple[float, ...]
    scale: tuple[float, ...]


def prothero_robinson(rate: float) -> Callable[[Tensor, Tensor], Tensor]:
    """y' = rate (y - cos t) - sin t, y = cos t (Prothero, Robinson 1974)."""
    return lambda t, y: rate * (y - torch.cos(t)) - torch.sin(t)


def van_der_pol(t: Tensor, y: Tensor) -> Tensor:
    """mu = 1000."""
    return torch.stack((y[1], 1e3 * (1 - y[0] ** 2) * y[1] - y[0]))


def robertson(t: Tensor, y: Tensor) -> Tensor:
    """Three reactions, rates from 4e-2 to 3e7."""
    a, b, c = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
    return torch.stack((b - a, a - b - c, c))


def esdirk(rtol: float, atol: float | Tensor) -> RungeKutta:
    """esdirk54 with the settings of conf/solver/esdirk54.yaml."""
    return RungeKutta(ESDIRK54, PI(rtol=rtol, atol=atol), max_steps=1_000_000)


def table_of_orders() -> None:
    print(
        "| λ | rtol = atol | error at 1 | f | Jacobians | LU | steps |\n"
        "|---|---|---|---|---|---|---|"
    )
    ts = torch.tensor([0.0, 1.0], dtype=F64)
    for rate in (-1.0, -1e2, -1e4, -1e6):
        for tol in (1e-4, 1e-6, 1e-8):
            with torch.no_grad():
                ys, stats = odeint(
                    prothero_robinson(rate), torch.ones(1, dtype=F64), ts,
                    solver=esdirk(tol, tol), gradient=Direct(),
                )  # fmt: skip
            error = abs(float(ys[-1]) - math.cos(1))
            print(
                f"| {rate:g} | {tol:g} | {error:.1e} | {stats.nfe} | {stats.jacobians} | "
                f"{stats.factorizations} | {stats.accepted} + {stats.rejected} |"
            )
    print("\n| method | λ | order seen, 8 to 128 steps | error at 128 |\n|---|---|---|---|")
    for method in (IMPLICIT_EULER, TRBDF2, GAUSS_LEGENDRE_4, RADAU_IIA_5, ESDIRK54):
        for rate in (-1.0, -1e6):
            counts = (8, 16, 32, 64, 128)
            errors = []
            for count in counts:
                with torch.no_grad():
                    ys, _ = odeint(
                        prothero_robinson(rate), torch.ones(1, dtype=F64), ts,
                        solver=RungeKutta(method, Constant(1 / count)), gradient=Direct(),
                    )  # fmt: skip
                errors.append(max(abs(float(ys[-1]) - math.cos(1)), 1e-17))
            order = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
            print(f"| {method.name} | {rate:g} | {order:.1f} | {errors[-1]:.1e} |")


PROBLEMS = (
    # E. Hairer, G. Wanner: test set for stiff problems (vdpol, rober), to 16 digits
    Stiff("van der Pol, μ = 1000, t = 2000", van_der_pol, (2.0, 0.0), 2000.0,
          (1.706167732170483, -0.8928097010247975e-3), (1.0, 1e-3)),
    Stiff("Robertson, t = 1e11", robertson, (1.0, 0.0, 0.0), 1e11,
          (0.2083340149701255e-7, 0.8333360770334713e-13, 0.9999999791665050),
          (1e-8, 1e-14, 1e-2)),
)  # fmt: skip


class Cost(NamedTuple):
    """The largest relative error of a solve at t1, and its cost."""

    error: float
    nfe: int
    jacobians: int
    factorizations: int
    steps: int


def ours(problem: Stiff, tol: float) -> Cost:
    scale = torch.tensor(problem.scale, dtype=F64)
    y0 = torch.tensor(problem.y0, dtype=F64)
    ts = torch.tensor([0.0, problem.t1], dtype=F64)
    with torch.no_grad():
        ys, s = odeint(problem.f, y0, ts, solver=esdirk(tol, tol * scale), gradient=Direct())
    error = (ys[-1] / torch.tensor(problem.reference, dtype=F64) - 1).abs().max()
    return Cost(float(error), s.nfe, s.jacobians, s.factorizations, s.accepted)


def scipys(problem: Stiff, tol: float, method: str) -> Cost:
    def f(t: float, y: np.ndarray) -> np.ndarray:
        return problem.f(torch.tensor(t, dtype=F64), torch.from_numpy(y)).numpy()

    def jacobian(t: float, y: np.ndarray) -> np.ndarray:
        at = torch.tensor(t, dtype=F64)
        found = torch.func.jacrev(lambda z: problem.f(at, z))(torch.from_numpy(y))
        return found.numpy()  # type: ignore[union-attr]

    solution = solve_ivp(
        f, (0, problem.t1), problem.y0, method=method, rtol=tol,
        atol=tol * np.array(problem.scale), jac=jacobian,
    )  # fmt: skip
    error = np.abs(solution.y[:, -1] / np.array(problem.reference) - 1).max()
    return Cost(error, solution.nfev, solution.njev, solution.nlu, len(solution.t) - 1)


def table_of_costs() -> None:
    for problem in PROBLEMS:
        print(f"\n{problem.name}\n")
        print("| solver | tolerance | relative error | f | Jacobians | LU | steps |")
        print("|---|---|---|---|---|---|---|")
        for tol in (1e-5, 1e-6, 1e-7, 1e-8):
            rows = {"esdirk54": ours(problem, tol)}
            rows |= {f"scipy {name}": scipys(problem, tol, name) for name in ("Radau", "BDF")}
            for name, cost in rows.items():
                print(
                    f"| {name} | {tol:g} | {cost.error:.1e} | {cost.nfe} | {cost.jacobians} | "
                    f"{cost.factorizations} | {cost.steps} |"
                )


class Reactions(nn.Module):
    """Robertson's reactions with unknown rates: dy/dt = S r, where r_i is k_i(y) times a monomial.

    k_i = exp(theta_i + net_i), where the network sees the logarithms of the concentrations.
    """

    stoichiometry: Tensor

    def __init__(self, seed: int) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        true = torch.tensor([0.04, 3e7, 1e4], dtype=F64).log()
        off = torch.randn(3, generator=random, dtype=F64)
        self.theta = nn.Parameter(true + off)
        self.inner = nn.Parameter(torch.randn(8, 3, generator=random, dtype=F64) * 0.3)
        self.outer = nn.Parameter(torch.randn(3, 8, generator=random, dtype=F64) * 0.03)
        self.register_buffer(
            "stoichiometry", torch.tensor([[-1, 0, 1], [1, -1, -1], [0, 1, 0]], dtype=F64)
        )

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        size = torch.log10(y.abs() + 1e-10) / 5
        k = torch.exp(self.theta + self.outer @ torch.tanh(self.inner @ size))
        return self.stoichiometry @ (k * torch.stack((y[0], y[1] ** 2, y[1] * y[2])))


def data(t1: float) -> tuple[Tensor, Tensor]:
    """Times from 1e-4 to t1, 40 on a logarithmic scale after 0, and the states there."""
    ts = torch.cat((torch.zeros(1), torch.logspace(-4, math.log10(t1), 40))).to(F64)
    y0 = torch.tensor([1.0, 0.0, 0.0], dtype=F64)
    tight = esdirk(1e-9, torch.tensor([1e-11, 1e-15, 1e-11], dtype=F64))
    with torch.no_grad():
        return ts, odeint(robertson, y0, ts, solver=tight, gradient=Direct()).ys


def learn(seed: int, iterations: int, t1: float, lr: float = 0.05) -> tuple[list[float], int, int]:
    """Train by Adam on the mean square of the scaled errors; returns losses and evaluations."""
    ts, target = data(t1)
    scale = target.abs().amax(0)
    f = Reactions(seed)
    optimizer = torch.optim.Adam(f.parameters(), lr=lr)
    solver = esdirk(1e-3, 1e-4 * scale)
    losses, forward, backward = [], 0, 0
    for _ in range(iterations):
        ys, stats = odeint(f, target[0], ts, solver=solver, gradient=Checkpointed())
        loss = ((ys - target) / scale).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        forward += stats.nfe
        backward += stats.backward.nfe if stats.backward else 0
    return losses, forward, backward


def table_of_learning(iterations: int = 60, t1: float = 1e5) -> None:
    print("| seed | first loss | last loss | f forward | f backward | seconds |")
    print("|---|---|---|---|---|---|")
    for seed in range(2):
        start = time.perf_counter()
        losses, forward, backward = learn(seed, iterations, t1)
        seconds = time.perf_counter() - start
        last = np.median(losses[-10:])
        print(
            f"| {seed} | {losses[0]:.1e} | {last:.1e} | {forward / iterations:.0f} | "
            f"{backward / iterations:.0f} | {seconds:.0f} |"
        )
    print("\nThe first solve with the start of seed 0 (tolerances as above)\n")
    print("| solver | to t | f | outcome |\n|---|---|---|---|")
    for end in (10.0, 100.0, t1):
        _, target = data(end)
        scale = target.abs().amax(0)
        controller = PI(rtol=1e-3, atol=1e-4 * scale)
        for method, limit in ((ESDIRK54, 100_000), (DOPRI5, 100_000)):
            calls = [0]
            f = Reactions(0)

            def counted(t: Tensor, y: Tensor, f: nn.Module = f, calls: list[int] = calls) -> Tensor:
                calls[0] += 1
                return f(t, y)

            outcome = "solved"
            try:
                with torch.no_grad():
                    odeint(
                        counted, target[0], torch.tensor([0.0, end], dtype=F64),
                        solver=RungeKutta(method, controller, limit), gradient=Direct(),
                    )  # fmt: skip
            except SolverError as error:
                outcome = f"{error.kind} at t = {error.t:.3g}"
            print(f"| {method.name} | {end:g} | {calls[0]} | {outcome} |")


def table_of_dense() -> None:
    """LU against GMRES: a diffusion equation with n unknowns, 5 steps of trbdf2."""
    print("| unknowns | LU, seconds | GMRES, seconds | products |\n|---|---|---|---|")
    usual = linear_system.LARGEST_DENSE
    for n in (64, 128, 256, 512, 1024, 2048):
        random = torch.Generator().manual_seed(0)
        y0 = torch.rand(n, generator=random, dtype=F64)

        def f(t: Tensor, y: Tensor, n: int = n) -> Tensor:
            inner = torch.nn.functional.pad(y, (1, 1))
            return 0.01 * n * n * (inner[2:] - 2 * y + inner[:-2]) - y**3

        found = []
        for largest in (10**9, 0):
            linear_system.LARGEST_DENSE = largest
            start = time.perf_counter()
            with torch.no_grad():
                _, stats = odeint(
                    f, y0, torch.tensor([0.0, 0.01], dtype=F64),
                    solver=RungeKutta(TRBDF2, Constant(0.002)), gradient=Direct(),
                )  # fmt: skip
            found.append((time.perf_counter() - start, stats.nvjp))
        linear_system.LARGEST_DENSE = usual
        print(f"| {n} | {found[0][0]:.2f} | {found[1][0]:.2f} | {found[1][1]} |")


TABLES = {
    "orders": table_of_orders,
    "costs": table_of_costs,
    "learn": table_of_learning,
    "dense": table_of_dense,
}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or TABLES:
        print(f"\n## {name}\n")
        TABLES[name]()
