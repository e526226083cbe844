"""VODE's Adams methods, the solver of the paper's experiments (Chen et al. 2018, section 3.1).

Brown, Byrne, Hindmarsh: VODE, a variable-coefficient ODE solver, SIAM J. Sci. Stat. Comput. 10,
1989: implicit Adams-Moulton formulas of orders 1 to 12, solved by functional iteration.
"""

from dataclasses import dataclass
from threading import Lock
from typing import ClassVar

import scipy.integrate

from node_repro.ode.norm import Norm
from node_repro.ode.scipy.flat import Flat, Weighted
from node_repro.ode.scipy.host_solver import Integrator
from node_repro.ode.scipy.multistep import Multistep
from node_repro.ode.scipy.rates import Rates

FAILED_ITERATIONS, FAILED_TESTS = 20, 21  # NCFN and NETF in iwork: rejected steps, by cause


@dataclass(frozen=True)
class VodeAdams(Multistep):
    """VODE's Adams methods, for problems that are not stiff: they need no Jacobian.

    VODE accepts a step when (1/N) sum_i (e_i / tol_i)^2 <= 1 over all N reals of the vector;
    weights of the tolerances convert it to the requested norm (Flat.mean_weights). The real and
    imaginary parts of a complex number have separate tolerances, not above that of the number.

    Examples:
        >>> import torch
        >>> from node_repro import ode
        >>> block = ode.ODEBlock(
        ...     torch.nn.Linear(2, 2),
        ...     solver=ode.VodeAdams(rtol=1e-5, atol=1e-5),
        ...     gradient=ode.Adjoint(),
        ... )
    """

    busy: ClassVar[Lock] = Lock()

    def _weighted(self, flat: Flat, norm: Norm) -> Weighted:
        return flat.tolerances(self._tolerances).times(flat.mean_weights(norm))

    def _ode(self, rates: Rates, weighted: Weighted, first_step: float) -> scipy.integrate.ode:
        return scipy.integrate.ode(rates).set_integrator(
            "vode",
            method="adams",
            rtol=weighted.rtol,
            atol=weighted.atol,
            order=self.max_order,
            first_step=first_step,
        )

    def _rejected(self, integrator: Integrator) -> int:
        return int(integrator.iwork[FAILED_ITERATIONS] + integrator.iwork[FAILED_TESTS])
