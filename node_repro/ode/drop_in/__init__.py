"""torchdiffeq's functions (0.2.5), solved here: a program changes its import line and no other.

Results agree within the tolerances, or the method's order. What makes no sense here is refused by
name (SolverError, kind bad_input). What differs:

* f is never called outside of the times: the last step ends at t[-1].
* rtol below 4 units in the last place of y0's dtype is raised to that: the default of 1e-7 is meant
  for float64.
* max_num_steps is 100,000 a solve unless given, so that a stiff problem ends with a message.
* Outputs between the steps of a fixed grid are the method's dense output, for interp="linear" as
  for "cubic": a straight line would lose orders.
* A step ends at every time of step_t as of jump_t, and f is called on the step's own side of it.
* An event's time has a gradient in event_fn's own parameters too.
"""

from node_repro.ode.drop_in.functions import odeint, odeint_adjoint, odeint_dense, odeint_event

__all__ = ["odeint", "odeint_adjoint", "odeint_dense", "odeint_event"]
