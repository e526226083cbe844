"""Adapters for scipy's integrators, which step in float64 on the host; f runs on y's device.

They implement node_repro.ode.solver.Solver. No other part of node_repro.ode imports scipy.
"""
