"""Adapters for scipy's integrators, which step in float64 on the host; f runs on y's device.

They keep the contract of node_repro.ode.solver. This folder alone of the solver imports scipy.
"""
