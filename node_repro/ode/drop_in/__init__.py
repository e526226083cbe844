"""torchdiffeq's functions, with torchdiffeq's arguments: a program changes its import line.

Follows version 0.2.5 and the main branch. docs/torchdiffeq.md says, method by method and option by
option, what differs; most of all:

* func is never called outside of the times: the last step ends at t[-1].
* rtol below 4 units in the last place of y0's dtype is raised to that: the default of 1e-7 is meant
  for float64.
* A solve may take 100,000 steps unless max_num_steps is given, so that a stiff problem ends with a
  message.
* Outputs between the steps of a fixed grid are the method's dense output, for interp="linear" as
  for "cubic": a straight line would lose orders.
* A step ends at every time of step_t as of jump_t, and func is called on the step's own side of it.
* An event's time has a gradient in event_fn's own parameters too.
* What makes no sense is refused in one sentence (SolverError, kind bad_input); an option that a
  method does not have is ignored with a warning.
"""

from node_repro.ode.drop_in.functions import odeint, odeint_adjoint, odeint_dense, odeint_event

__all__ = ["odeint", "odeint_adjoint", "odeint_dense", "odeint_event"]
