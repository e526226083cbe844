"""Solvers that are not ours: scipy's, which step in float64 on the host and call f where y lives.

They keep the contract of node_repro.ode.solver. This folder alone of the solver imports scipy.
"""
