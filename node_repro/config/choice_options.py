"""Options of classes whose constructors do not declare them yet."""

from collections.abc import Sequence

from node_repro.config.option import Option


def _option(
    key: str,
    type: type[bool] | type[int] | type[float] | type[str],
    meaning: str,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
    choices: Sequence[str] = (),
    many: bool = False,
    least: int = 0,
    null: str | None = None,
    semantic: bool = True,
    fixed: bool = False,
) -> Option:
    bounds = ((">=", low), (">", above), ("<=", high), ("<", below))
    dotted = any(choice.startswith("node_repro.") for choice in choices)
    return Option(
        key,
        f"{meaning}. None: {null}" if null else meaning,
        None if choices else type,
        tuple((sign, bound) for sign, bound in bounds if bound is not None),
        () if dotted else tuple(choices),
        many=many,
        least=least,
        nullable=null is not None,
        dotted=dotted,
    )


COMPONENT_OPTIONS = (
    _option("task.crop_padding", int, "random crops, pixels of padding", low=0, high=28),
    _option("task.validation", int, "images held out", low=1, null="5000, of the embedded 500"),
    _option("task.noise_sd", float, "deviation of observations in the likelihood", above=0),
    _option("task.mark_sd", float, "deviation of marks in the likelihood", above=0),
    _option("task.kl_warmup", int, "steps over which the divergence comes to count", low=0),
    _option("task.window", int, "points of a training window", low=2),
    _option("task.annealing", int, "iterations until the target has its height", low=1, null="0"),
    _option("model.hidden", int, "units of the hidden layer", low=1),
    _option("model.stem", str, "layers before the blocks", choices=("residual", "conv")),
    _option("model.blocks", int, "residual blocks", low=1),
    _option("model.channels", int, "feature maps", low=1),
    _option("model.latent", int, "dimensions of the latent state", low=1),
    _option("model.cell", str, "recurrent cell", choices=("tanh", "gru")),
    _option("model.width", int, "units of the dynamics, and of a decoder", low=1),
    _option("model.samples", int, "posterior samples in a training step", low=1),
    _option("model.predicted", int, "posterior samples of a prediction", low=1),
    _option("model.gaps", bool, "reads the time to the next observation", fixed=True),
    _option("model.hyper_hidden", int, "units of the hypernetwork", low=1, null="no time"),
    _option("model.layers", int, "hidden layers", low=1),
    _option("model.trace", str, "how tr(df/dz) is found", choices=("exact", "hutchinson")),
    _option("model.end", float, "the time at which the data are", above=0),
    _option("model.depth", int, "maps one after the other", low=1),
    _option("model.dimensions", int, "of the state", low=1, null="those of the input"),
    _option("model.direction", str, "of the maps", choices=("to_data", "to_base")),
    _option("solver.method", str, "dotted path of the method", fixed=True),
    _option("solver.scipy_method", str, "method of scipy.integrate.solve_ivp", fixed=True),
    _option("solver.max_order", int, "highest order", low=1, high=12),
    _option("solver.max_steps", int, "steps of one solve before it is given up", low=1),
    _option("controller.step_size", float, "length of every step but the last", above=0),
    _option("controller.safety", float, "aim this far below the tolerance", above=0, below=1),
    _option("controller.factor_min", float, "strongest shrinking of a step", above=0, below=1),
    _option("controller.factor_max", float, "strongest growth of a step", above=1),
    _option("controller.first_step", float, "first step", above=0, null="chosen by the solver"),
    _option("controller.proportional", float, "weight of the error's change", low=0, high=1),
    _option("controller.integral", float, "weight of the error", above=0, high=1),
    _option(
        "gradient.norm",
        str,
        "which parts judge the error",
        choices=tuple(f"node_repro.ode.norm.{name}" for name in ("FULL", "SEMI", "FLAT")),
        fixed=True,
    ),
    _option("data.dataset", str, "which set", choices=("mnist", "fashion_mnist"), fixed=True),
    _option("data.root", str, "folder of the files", null="the cache folder", semantic=False),
    _option(
        "data.source",
        str,
        "all digits, the 5000 embedded ones, or what there is",
        choices=("auto", "full", "embedded"),
        semantic=False,  # the data set's name, which the signature holds, says what it came to
    ),
    _option("data.download", bool, "download what is missing", semantic=False),
    _option("data.limit", int, "train on the first n images only", low=1, null="all"),
    _option("data.noise", float, "standard deviation of the blur", low=0.01),
    _option("data.scale", float, "what all lengths are multiplied with", above=0),
    _option("data.factor", float, "radius of the inner circle", above=0, below=1),
    _option("data.radial", float, "spread along an arm", above=0),
    _option("data.tangential", float, "spread across an arm", above=0),
    _option(
        "data.box", float, "half the side of the walled square", above=0, high=100, null="no wall"
    ),
    _option(
        "data.shape",
        str,
        "what draws the curves, or is learned",
        choices=(
            *(f"node_repro.data.spirals.{name}" for name in ("paper_like", "torchdiffeq")),
            *(f"node_repro.data.noisy_function.{name}" for name in ("PLATEAUS", "WAVE")),
            *(
                f"node_repro.data.labelled_points.{name}"
                for name in ("CIRCLES", "MOONS", "SPIRALS")
            ),
        ),
        fixed=True,
    ),
    _option("data.trajectories", int, "spirals in all, a tenth selects, two test", low=10),
    _option("data.observed", int, "points seen of the 100 of a window", low=1, high=100),
    _option("data.noise_sd", float, "standard deviation of the noise", low=0),
    _option("data.sequences", int, "sequences in all, a tenth selects, three test", low=10),
    _option("data.low", float, "lowest rate, events a unit of time", low=0),
    _option("data.high", float, "highest rate", above=0),
    _option("data.period", float, "time between two peaks of the rate", above=0),
    _option("data.end", float, "length of a sequence", above=0),
    _option("data.phases", str, "one rate for all, or a phase each", choices=("shared", "random")),
    _option("data.marks", bool, "events carry a noisy value"),
    _option("data.points", int, "times of the trajectory, or points to train on", low=3),
    _option("data.slope", float, "rate of change of the line"),
    _option("data.start", float, "value of the line at zero, which is known"),
    _option("data.path", str, "the CSV file: id, time, channel, value", semantic=False),
    _option("data.hide", str, "which times are predicted", choices=("between", "after")),
    _option("data.part", float, "how large a part is hidden", above=0, below=1),
    _option("data.seed", int, "seed of the data, apart from that of the run", low=0),
    _option("optimizer.lr", float, "learning rate; of sgd for batches of 128", above=0),
    _option("optimizer.momentum", float, "momentum", low=0, below=1),
    _option("schedule.final", float, "last rate as a fraction of lr", low=0, high=1),
    _option("schedule.warmup", float, "fraction of the run that warms up", low=0, below=1),
    _option("schedule.milestones", float, "where the rate falls", above=0, below=1, many=True),
    _option("schedule.factor", float, "what the rate is multiplied with there", above=0, high=1),
)
PROBE = (
    _option("probe.tolerances", float, "rtol = atol", above=0, many=True, least=1, semantic=False),
    _option("probe.batches", int, "minibatches", low=1, semantic=False),
    _option("probe.batch", int, "examples of a minibatch", low=1, semantic=False),
    _option("probe.examples", int, "of the test set, in all", low=1, semantic=False),
    _option("probe.shown", float, "tolerances in the picture", above=0, many=True, semantic=False),
    _option(
        "probe.states", int, "sizes D of small states", low=1, many=True, least=1, semantic=False
    ),
    _option(
        "probe.hidden", int, "units of small networks", low=1, many=True, least=1, semantic=False
    ),
    _option("probe.reference", float, "tolerance of the true solution", above=0, semantic=False),
    _option("probe.drawn", int, "inputs of a picture", low=1, semantic=False),
    _option("probe.repeats", int, "solves that a time is the median of", low=1, semantic=False),
    _option(
        "probe.steps", int, "constant steps of a solve", low=1, many=True, least=1, semantic=False
    ),
)
LEGACY = {option.key: option for option in (*COMPONENT_OPTIONS, *PROBE)}
