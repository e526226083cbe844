"""Gradients with respect to the times: dL/dt1 = a f, dL/dt0 = -a f, and the times of outputs."""

import math

import pytest
import torch
from chosen import GRADIENTS, METHODS, Net, adaptive, leaf, real, steps
from torch import Tensor, nn

from node_repro.ode import RungeKutta, odeint

TIGHT = adaptive("dopri8", 1e-12)
SMOOTH = adaptive("dopri5", 1e-10)


def time_gradient(
    gradient: str, ts: list[float], cotangents: list[float], solver: RungeKutta = TIGHT
) -> tuple[Tensor, int]:
    """Of y' = y cos t with y(ts[0]) = 2, and how often f was evaluated forward."""
    times = leaf(*ts)
    ys, stats = odeint(
        lambda t, y: y * torch.cos(t), real(2.0), times, solver=solver,
        gradient=GRADIENTS[gradient], parameters=(),
    )  # fmt: skip
    (ys[:, 0] * real(*cotangents)).sum().backward()
    return times.grad if times.grad is not None else torch.zeros_like(times), stats.nfe


def exact(ts: list[float], cotangents: list[float]) -> Tensor:
    """y(t_i) = 2 exp(sin t_i - sin t_0), so its gradients by t_i and t_0 are +-y cos."""
    y = [2 * math.exp(math.sin(t) - math.sin(ts[0])) for t in ts]
    found = [c * y_i * math.cos(t) for c, y_i, t in zip(cotangents, y, ts, strict=True)]
    found[0] -= math.cos(ts[0]) * sum(c * y_i for c, y_i in zip(cotangents, y, strict=True))
    return real(*found)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize(
    "ts",
    [[0.0, 1.3], [0.7, 2.0, 2.1, 3.0], [1.0, 0.2, -0.5], [-2.0, -1.0, 1.0]],
    ids=["two", "t0 is not 0", "falling", "from below 0"],
)
def test_every_time_gets_its_gradient(gradient: str, ts: list[float]) -> None:
    cotangents = [0.5, -1.0, 2.0, 0.3][: len(ts)]
    found, _ = time_gradient(gradient, ts, cotangents, SMOOTH)
    torch.testing.assert_close(found, exact(ts, cotangents), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_loss_on_the_first_output_alone_does_not_feel_its_time(gradient: str) -> None:
    found, _ = time_gradient(gradient, [0.3, 1.0], [1.0, 0.0])
    assert torch.equal(found, real(0, 0))


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("ts", [[0.0, 0.6, 0.6, 1.0], [0.0, 0.5, 1.0, 1.0]], ids=["mid", "end"])
def test_times_that_repeat_each_get_their_own_gradient(gradient: str, ts: list[float]) -> None:
    cotangents = [0.0, 1.0, -2.0, 0.5]
    found, _ = time_gradient(gradient, ts, cotangents, SMOOTH)
    torch.testing.assert_close(found, exact(ts, cotangents), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("ts", [[0.4, 0.4], [0.4, 0.4, 1.0]], ids=["nothing to do", "and on"])
def test_an_output_at_the_start_moves_with_its_own_time(gradient: str, ts: list[float]) -> None:
    # y(t1) is y0 there, and still dy(t1)/dt1 = f and dy(t1)/dt0 = -f
    cotangents = [0.3, 1.0, 0.5][: len(ts)]
    found, _ = time_gradient(gradient, ts, cotangents, SMOOTH)
    torch.testing.assert_close(found, exact(ts, cotangents), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_gradients_of_outputs_at_the_start_meet_those_just_after_it(gradient: str) -> None:
    at, _ = time_gradient(gradient, [0.4, 0.4], [0.0, 1.0])
    after, _ = time_gradient(gradient, [0.4, 0.4 + 1e-9], [0.0, 1.0])
    torch.testing.assert_close(at, after, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("method", METHODS)
def test_times_converge_to_their_gradients_with_every_method(gradient: str, method: str) -> None:
    # a third within its step for both sizes: the dense output is better at some places than others
    ts, cotangents = [0.2, 0.2 + 0.05 * 43 / 3, 1.7], [0.0, 1.0, -0.5]
    aim = exact(ts, cotangents)
    coarse, fine = (
        float((time_gradient(gradient, ts, cotangents, steps(method, h))[0] - aim).abs().max())
        for h in (0.05, 0.0125)
    )
    order = min(METHODS[method].order, METHODS[method].dense_order)
    assert fine < max(1e-9, coarse / 4 ** (order - 0.5)), (coarse, fine)


class Trained(nn.Module):
    """Integrates for a time that is a parameter (what ffjord's train_T meant to do)."""

    def __init__(self, gradient: str) -> None:
        super().__init__()
        self.f, self.gradient = Net(), GRADIENTS[gradient]
        self.length = nn.Parameter(torch.tensor(0.8))

    def forward(self, y: Tensor) -> Tensor:
        ts = torch.stack((torch.zeros_like(self.length), self.length))
        return odeint(self.f, y, ts, solver=adaptive(), gradient=self.gradient).ys[-1]


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_an_end_time_in_single_precision_trains(gradient: str) -> None:
    module = Trained(gradient)
    module(real(0.5, -0.2, 0.9)).sum().backward()
    found = module.length.grad
    assert found is not None and found.dtype == torch.float32
    with torch.no_grad():
        y1 = module(real(0.5, -0.2, 0.9))
        rate = module.f(module.length.double(), y1).sum()
    assert found.item() == pytest.approx(rate.item(), rel=1e-5)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_the_choice_of_steps_is_not_differentiated(gradient: str) -> None:
    # for f = t^2 every step is exact, whatever its size: so must be the gradient
    ts = leaf(0.5, 1.1, 2.0)
    ys, _ = odeint(
        lambda t, y: t**2 * torch.ones_like(y), real(0.0), ts, solver=adaptive("dopri5", 1e-2),
        gradient=GRADIENTS[gradient], parameters=(),
    )  # fmt: skip
    ys[1:].sum().backward()
    torch.testing.assert_close(ts.grad, real(-2 * 0.25, 1.21, 4.0), rtol=1e-12, atol=0)
