"""Hamiltonian Monte Carlo: leapfrog against steps of controlled size."""

from collections.abc import Mapping
from typing import NamedTuple

from node_repro.experiments.description import Experiment

_SAMPLING = "Sampling"


class _Tuned(NamedTuple):
    """Time of a path and acceptance rate with the most effective samples an evaluation, of those
    tried on seeds from 100 on (docs/sampling.md).
    """

    time: float
    acceptance: float


_TARGETS = {
    "u1": "U1, two half moons",
    "u2": "U2, a wave",
    "u3": "U3, two waves that join",
    "u4": "U4, a wave that splits",
    "scaled_gaussian": "50 normal coordinates of different widths",
}

_LEAPFROG = {
    "u1": _Tuned(8.0, 0.95),
    "u2": _Tuned(8.0, 0.8),
    "u3": _Tuned(4.0, 0.9),
    "u4": _Tuned(4.0, 0.95),
    "scaled_gaussian": _Tuned(1.0, 0.8),
}
_CONTROLLED = {
    "u1": _Tuned(8.0, 0.95),
    "u2": _Tuned(2.0, 0.95),
    "u3": _Tuned(4.0, 0.95),
    "u4": _Tuned(4.0, 0.95),
    "scaled_gaussian": _Tuned(1.0, 0.95),
}


def _hmc(target: str, tuned: _Tuned, chosen: Mapping[str, object]) -> dict[str, object]:
    path = {"task.time": tuned.time, "task.acceptance": tuned.acceptance}
    return {"task": "hmc", "data": target, **chosen, **path}


EXPERIMENTS = (
    *(
        Experiment(
            f"hmc_{target}_leapfrog",
            f"{name}: Hamiltonian Monte Carlo by leapfrog steps",
            _SAMPLING,
            _hmc(target, _LEAPFROG[target], {"model": "leapfrog"}),
        )
        for target, name in _TARGETS.items()
    ),
    *(
        Experiment(
            f"hmc_{target}_dopri5",
            f"{name}: Hamiltonian Monte Carlo by Dormand-Prince steps of controlled size",
            _SAMPLING,
            _hmc(target, _CONTROLLED[target], {"model": "hamiltonian_ode"}),
            probes=("sampling_tolerance",) if target in ("u2", "scaled_gaussian") else (),
        )
        for target, name in _TARGETS.items()
    ),
    Experiment(
        "hmc_u2_reversible_heun",
        "U2, a wave: Hamiltonian Monte Carlo by reversible Heun steps of controlled size",
        _SAMPLING,
        _hmc("u2", _CONTROLLED["u2"], {"model": "hamiltonian_ode", "solver": "reversible_heun"}),
    ),
)
