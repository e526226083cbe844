"""torchdiffeq's API on top of this solver; programs change only their import line.

It follows version 0.2.5 and the main branch of torchdiffeq. docs/torchdiffeq.md lists all
differences by method and option. The most important ones:

* func is never called outside of the times: the last step ends at t[-1].
* rtol is raised to 4 units in the last place of the dtype of y0, as the default of 1e-7 is meant
  for float64.
* A solve fails after 100,000 steps unless max_num_steps is given, so that a stiff problem ends with
  a message.
* Outputs between the steps of a fixed grid are the method's dense output, both for interp="linear"
  and "cubic", as a straight line would reduce the order.
* A step ends at every time of step_t and jump_t, and func is called on the side of the step.
* The time of an event has a gradient with respect to the parameters of event_fn, too.
* Invalid arguments raise SolverError (kind bad_input); an option that a method does not have is
  ignored with a warning.

Example:
    >>> import torch
    >>> from node_repro.ode.drop_in import odeint_adjoint as odeint
    >>> class Field(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.layer = torch.nn.Linear(2, 2)
    ...
    ...     def forward(self, t, y):
    ...         return self.layer(y)
    >>> odeint(Field(), torch.zeros(8, 2), torch.linspace(0, 1, 5), rtol=1e-5, atol=1e-5).shape
    torch.Size([5, 8, 2])
"""

from node_repro.ode.drop_in.functions import odeint, odeint_adjoint, odeint_dense, odeint_event

__all__ = ["odeint", "odeint_adjoint", "odeint_dense", "odeint_event"]
