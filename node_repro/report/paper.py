"""Numbers of the paper, each with its place in it."""

from typing import NamedTuple

ERROR_PERCENT = {"mlp": 1.60, "resnet": 0.41, "rknet": 0.47, "odenet": 0.42}
"""Table 1: test error on MNIST. The MLP is quoted from LeCun et al. (1998), deskewed digits."""

PARAMETERS = {"mlp": "0.24 M", "resnet": "0.60 M", "rknet": "0.22 M", "odenet": "0.22 M"}
"""Table 1."""

PARAMETER_RATIO = 0.22 / 0.60
"""Table 1: ODE-Net over ResNet."""

MEMORY = {"resnet": "O(L)", "rknet": "O(L̃)", "odenet": "O(1)"}
"""Table 1: in the number of layers L, or of the solver's evaluations L̃."""

TIME = {"resnet": "O(L)", "rknet": "O(L̃)", "odenet": "O(L̃)"}
"""Table 1."""

COUNTS = (30, 50, 100)
"""Table 2: observed points, of 100."""

RMSE = {"rnn": (0.3937, 0.3202, 0.1813), "latent_ode": (0.1642, 0.1502, 0.1346)}
"""Table 2: predictive error on spirals, by the number of observed points."""

LOG_LIKELIHOOD = {
    "rnn": (-165.26, -97.51, -153.49),
    "rnn_dt": (-133.78, -98.88, -145.15),
    "latent_ode": (-5.39, -5.21, -4.78),
}
"""Earlier version of table 2, from the authors' slides; the unit is not given."""


class Ranges(NamedTuple):
    """Ranges of one tolerance in figure 3, read by eye (±10 %). error: None if off the axis."""

    forward: tuple[float, float]
    error: tuple[float, float] | None
    time: tuple[float, float]
    backward: tuple[float, float]


FIGURE_3 = {
    1.0: Ranges((8, 16), (2e-3, 2e-2), (0.07, 0.20), (6, 6)),
    1e-1: Ranges((12, 22), (4e-4, 3e-2), (0.20, 0.25), (7, 7)),
    1e-2: Ranges((15, 30), (1e-4, 4e-3), (0.13, 0.30), (8, 12)),
    1e-3: Ranges((28, 46), (5e-5, 7e-4), (0.20, 0.42), (10, 25)),
    1e-4: Ranges((47, 70), (1e-5, 6e-5), (0.33, 0.78), (18, 37)),
    1e-5: Ranges((98, 145), None, (0.77, 1.00), (40, 80)),
}
"""Figure 3 a to c: evaluations, error and relative time by tolerance."""

FIGURE_3D = ((0, 7), (8, 11), (27, 11), (35, 12), (45, 12), (64, 14), (72, 16.3), (120, 16.4))
"""Figure 3 d: training epochs and forward evaluations, read by eye. It does not fit the panels a to
c at a tolerance of 1e-3 (28 to 46 evaluations); its tolerance is unknown."""

LAYERS = {"ResNet-18": 18, "ResNet-50": 50, "ResNet-152": 152, "DenseNet-121": 121}
"""Layers with weights of networks for ImageNet at the time of the paper, counted by their authors:
He, Zhang, Ren, Sun: Deep residual learning for image recognition, 2016, table 1; Huang, Liu, van
der Maaten, Weinberger: Densely connected convolutional networks, 2017, table 1."""
