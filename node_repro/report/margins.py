"""Confidence, margins and limits of the report's rules, fixed before the runs that they judge."""

CONFIDENCE = 0.95
"""Of two-sided intervals, the usual level: one of twenty comparisons of equal means misleads."""

DECIDING_PROFILES = frozenset({"close", "reference", "paper"})
"""Profiles that judge the paper's claims about trained networks. The others train for about a tenth
of the paper's iterations or fewer, so that a failure there may be one of the budget."""

# Equality

MNIST_POINTS = 0.15
"""Points of test error on MNIST within which two networks are equal. The binomial standard error of
0.42 % on 10,000 digits is 0.065 points; the margin is a little more than twice that."""

RMSE_SHARE = 0.10
"""Share of the reference's RMSE within which two RMSEs are equal. The rows of the paper's table 2
differ by a third at least."""

PARAMETER_RATIO = 0.05
"""Deviation from the paper's ratio of parameters, 0.37. The paper does not give the stem, which has
two thirds of ODE-Net's parameters here."""

ORDER = 0.2
"""Deviation of an observed order of convergence. Orders are whole numbers, and errors at steps that
are not yet small deviate by about a tenth."""

# Networks on MNIST

HALF = (0.4, 0.6)
"""Ratios of backward to forward evaluations that are about half. The paper's figure 3 c has
ratios of 0.41 to 0.50, and both numbers of a ratio are read by eye, to ±10 %."""

DILUTION = 0.15
"""Deviation from the predicted ratio of evaluations, as a share of it: a step of dopri5 has six
evaluations, and its backward solves have about 20 to 50, so that a ratio of their means over a few
tolerances is known to about 15 %."""

INHERITED_ERROR = 1.1
"""Error of a gradient with an inherited first step over that with a fresh one that is no worse: the
solver controls an error to a factor of two at best, and a tenth is well below that."""

DIFFICULTY_CORRELATION = 0.1
"""Rank correlation of evaluations and difficulty above which cost scales with difficulty: a smaller
one explains less than a hundredth of the variance of the ranks."""

LAYERS = (18, 152)
"""Numbers of layers of modern networks: the smallest and the largest residual network of the paper
that introduced them (He et al. 2016, table 1)."""

CONVOLUTIONS = 2
"""Layers in an evaluation of ODE-Net's f."""

TIME_CORRELATION = 0.9
"""Correlation of seconds and evaluations that counts as proportional: the evaluations then explain
four fifths of the variance of the time, to which other programs on the machine add noise."""

CONSTANT_GROWTH = 1.05
"""Growth of memory from the fewest to the most steps that counts as none: 5 % for small tensors of
each step, while the states themselves would grow 64-fold."""

PROPORTIONAL_SHARE = 0.5
"""Growth of memory over growth of steps that counts as proportional: memory that does not depend on
the steps (inputs, parameters) may be up to as large as that of the fewest steps."""

TIME_EXPONENT = (0.75, 1.25)
"""Exponents of the steps that count as time proportional to them: from halfway to a square root's
0.5, as the fixed cost of a pass lowers the exponent and a full cache raises it."""

MUCH_MEMORY = 2.0
"""Memory of a training iteration over another's that counts as much more: a machine then holds half
as large a batch. Both contain the stem and the head, which do not depend on the gradient method."""

MINIBATCH_FACTOR = 1.25
"""Evaluations of a minibatch over the mean of its examples that are no substantial increase: the
digit with the most evaluations takes as many."""

TOLERANCES = 10.0
"""Error, in tolerances, that counts as controlled by the tolerance. A tolerance bounds the error of
one step; the errors of several steps add up, and the field may amplify them."""

EULER_ERROR = 0.1
"""Relative error of Euler's method above which its steps are too long: an error of a tenth of the
state is visible in a picture of the paths."""

# Flows

KL_FIGURE_4 = {"u1": 0.01, "u2": 0.01, "u3": 0.01, "u4": 0.15}
"""Nats from the target up to which a flow of 32 units fits closely. Trials reached 0.002 to 0.008
on U1 and U2. For U4, which is not in the paper, they reached 0.06, and the first limit is kept."""

KL_REACHED = 0.05
"""Nats from the target up to which a flow in training counts as fitted, where the time to get there
is measured: five times the limit of a close fit, and ten times the noise of a logged loss."""

KL_FIGURE_5 = 0.03
"""Nats above the entropy up to which a flow fits circles and moons. Trials at the paper's budget
reached 0.013 for the moons and 0.021 for the circles."""

INVERSE_FACTOR = 1.25
"""Evaluations back over evaluations to the base, or the reverse, up to which a flow is about as
easily inverted as run forward: as for minibatches, a quarter more is no substantial increase."""

WIDTH_LINEAR, WIDTH_CUBIC = 1.25, 2.0
"""Powers of the number of units with which the seconds of a log density grow: at most the first
counts as O(M), at least the second as O(M^3), as the fixed cost of a call and optimised
factorisations of small matrices lower the measured power.
"""

# Time series

POISSON_SHARES = {"fig7_poisson": 0.9, "fig7_poisson_marked": 0.85}
"""Share of the way from the constant rate's log p to the true rate's that counts as near the true
rate. With marks, most of log p is about the values seen at the events, and a trial of 3,000
iterations reached 0.84."""

NOISE_RMSE = 0.115
"""RMSE ahead, against noisy points, up to which a model predicts to the noise: the noise has a
standard deviation of 0.1, which no model can go below."""

DIRECTION_ACCURACY = 0.95
"""Accuracy of a probe from which the two directions are separated: with more than one spiral in
twenty on the wrong side, a picture of the latent space shows an overlap."""

# Sampling

STANDARD_ERRORS = 3.0
"""Monte Carlo standard errors within which sampled moments agree with exact ones. Of twenty exact
moments, the largest deviation is above it in one report of twenty."""

# Toys

RINGS_PLANE_ERROR, RINGS_LIFTED_ERROR = 0.05, 0.02
"""Test errors that tell whether two rings are separated: at least 5 % in the plane, where a band of
points is always on the wrong side, and at most 2 % with one dimension more."""

# Gradients and precision

ABOVE_REFERENCE = 10.0
"""Errors, in uncertainties of the reference, from which an order is observed: the reference then
changes it by a tenth at most."""

PRECISION_LEVELS = 1
"""Different solves whose errors lie between those of two neighbouring precisions, at least, for the
tolerance to be the finer control: with none, the precisions are the finer steps."""

# Physics

BALL_SHARE, BALL_FLOOR = 0.02, 0.02
"""Relative error of gravity and restitution, and metres of the floor, up to which they count as
recovered from the times of bounces. The smallest possible standard errors (Cramer and Rao) of the
data's design are 0.7 %, 0.4 % and 0.7 cm, so that the limit leaves about three of them for gravity
and the floor."""
