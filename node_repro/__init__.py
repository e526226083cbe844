"""node_repro: reproduces the paper Neural Ordinary Differential Equations on its own solver."""
