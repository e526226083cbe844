"""Every key that a run may have, declared once: type, range, meaning, whether it changes results.

Which choice of a group has which key is said by its yaml; what a key may hold is said here. A key
that neither `--help` nor validation nor the signature knows cannot exist, because all read this.
"""

import math
from dataclasses import dataclass

from node_repro.config import ConfigError, Value

GROUPS = {
    "task": "what is learned, and how it is scored",
    "model": "the network",
    "solver": "the method that takes one step of the ODE",
    "controller": "what decides the size of the steps",
    "gradient": "how the loss is differentiated through the solve",
    "data": "what is learned from",
    "optimizer": "the optimizer",
    "schedule": "the learning rate over the run",
    "profile": "how much work",
    "experiment": "a row or panel of the paper",
    "probe": "what is measured on a finished run, with job=probe",
}
COMPONENTS = ("task", "model", "controller", "gradient", "data", "optimizer", "schedule")
ODE_GROUPS = ("solver", "controller", "gradient")


@dataclass(frozen=True)
class Option:
    """A key: its type, its range and one line of meaning."""

    key: str
    type: type[bool] | type[int] | type[float] | type[str]
    meaning: str
    low: float | None = None  # smallest allowed value
    above: float | None = None  # the value must be larger than this
    high: float | None = None  # largest allowed value
    below: float | None = None  # the value must be smaller than this
    choices: tuple[str, ...] = ()
    many: bool = False  # a list of such values
    null: str | None = None  # what null means; None: null is refused
    semantic: bool = True  # changes results, so it is part of the run's signature
    fixed: bool = False  # a fact of the choice: not for the command line

    def allowed(self) -> str:
        """The allowed values in words."""
        noun = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
        words = f"one of {', '.join(self.choices)}" if self.choices else noun[self.type]
        bounds = ((">=", self.low), (">", self.above), ("<=", self.high), ("<", self.below))
        limits = " and ".join(f"{sign} {bound:.10g}" for sign, bound in bounds if bound is not None)
        words = f"{words} {limits}".rstrip()
        if self.many:
            words = f"a list, each {words}"
        return words if self.null is None else f"{words}, or null ({self.null})"

    def checked(self, value: object) -> Value:
        """The value in the option's type; ConfigError naming key, value and what is allowed."""
        if value is None and self.null is not None:
            return None
        if self.many:
            if isinstance(value, list) and all(self._fits(item) for item in value):
                return tuple(float(item) if self.type is float else item for item in value)
        elif isinstance(value, (bool, int, float, str)) and self._fits(value):
            return float(value) if self.type is float else value
        shown = str(value).lower() if isinstance(value, bool) else value
        shown = "null" if value is None else shown
        raise ConfigError(f"{self.key}={shown} must be {self.allowed()} ({self.meaning})")

    def _fits(self, value: object) -> bool:
        numbers = (int, float) if self.type is float else (self.type,)
        if not isinstance(value, numbers) or isinstance(value, bool) != (self.type is bool):
            return False
        if isinstance(value, str):
            return value in self.choices if self.choices else bool(value.strip(" \0"))
        return (
            math.isfinite(value)
            and (self.low is None or value >= self.low)
            and (self.above is None or value > self.above)
            and (self.high is None or value <= self.high)
            and (self.below is None or value < self.below)
        )


JOB = (
    Option(
        "job",
        str,
        "what is done",
        choices=("train", "probe", "report", "compare"),
        semantic=False,
    ),
    Option("runs", str, "directories of finished runs", many=True, semantic=False),
)
"""What is done, which is no part of a run's configuration."""
ROOT = (
    Option(
        "seed",
        int,
        "seed of weights, data order and crops",
        low=0,
        high=2**32 - 1,
        semantic=False,
    ),
    Option("device", str, "where it runs", choices=("auto", "cpu", "cuda"), semantic=False),
    Option("precision", str, "type of parameters and states", choices=("float32", "float64")),
    Option("rtol", float, "relative tolerance of the ODE solve", low=0),
    Option("atol", float, "absolute tolerance of the ODE solve", low=0),
    Option("name", str, "folder below outputs", null="from experiment or model", semantic=False),
    Option("outputs", str, "where runs are kept", semantic=False),
    Option("deterministic", bool, "only deterministic kernels"),
    Option("threads", int, "CPU threads", low=1, high=1024, null="torch decides", semantic=False),
    Option("progress", str, "progress bar", choices=("auto", "on", "off"), semantic=False),
    Option("debug", bool, "show tracebacks", semantic=False),
)
TRAINER = (
    Option("trainer.epochs", int, "passes over the training set", low=1, null="iterations decides"),
    Option("trainer.iterations", int, "training steps in all", low=1, null="epochs decides"),
    Option("trainer.evaluate_every", int, "steps between evaluations", low=1, null="an epoch"),
    Option("trainer.clip", float, "largest norm of the gradient", above=0, null="any"),
    Option("trainer.batch_size", int, "examples a training step", low=1),
    Option("trainer.eval_batch_size", int, "examples a batch when testing", low=1, semantic=False),
    Option("trainer.checkpoint_seconds", float, "time between checkpoints", low=0, semantic=False),
    Option("trainer.log_every", int, "steps between logged lines", low=1, semantic=False),
)
_TOLERANCES = (
    Option("gradient.rtol", float, "relative tolerance of the backward solve", low=0),
    Option("gradient.atol", float, "absolute tolerance of the backward solve", low=0),
)
COMPONENT_OPTIONS = (
    Option("task._data_", str, "the kind of data it learns from", fixed=True, semantic=False),
    Option("task._model_", str, "the kind of model it trains", fixed=True, semantic=False),
    Option("task.crop_padding", int, "random crops, pixels of padding", low=0, high=28),
    Option("task.validation", int, "images held out", low=1, null="5000, of the embedded 500"),
    Option("task.noise_sd", float, "deviation of observations in the likelihood", above=0),
    Option("task.mark_sd", float, "deviation of marks in the likelihood", above=0),
    Option("task.kl_warmup", int, "steps over which the divergence comes to count", low=0),
    Option("task.window", int, "points of a training window", low=2),
    Option("task.annealing", int, "iterations until the target has its height", low=1, null="0"),
    Option("model._kind_", str, "what it maps to what", fixed=True, semantic=False),
    Option("model._ode_", bool, "solves an ODE", fixed=True, semantic=False),
    Option("model.hidden", int, "units of the hidden layer", low=1),
    Option("model.stem", str, "layers before the blocks", choices=("residual", "conv")),
    Option("model.blocks", int, "residual blocks", low=1),
    Option("model.channels", int, "feature maps", low=1),
    Option("model.latent", int, "dimensions of the latent state", low=1),
    Option("model.cell", str, "recurrent cell", choices=("tanh", "gru")),
    Option("model.width", int, "units of the dynamics, and of a decoder", low=1),
    Option("model.samples", int, "posterior samples in a training step", low=1),
    Option("model.predicted", int, "posterior samples of a prediction", low=1),
    Option("model.gaps", bool, "reads the time to the next observation", fixed=True),
    Option("model.hyper_hidden", int, "units of the hypernetwork", low=1, null="no time"),
    Option("model.layers", int, "hidden layers", low=1),
    Option("model.trace", str, "how tr(df/dz) is found", choices=("exact", "hutchinson")),
    Option("model.end", float, "the time at which the data are", above=0),
    Option("model.depth", int, "maps one after the other", low=1),
    Option("model.dimensions", int, "of the state", low=1, null="those of the input"),
    Option("model.direction", str, "of the maps", choices=("to_data", "to_base")),
    Option("solver.method", str, "dotted path of the method", fixed=True),
    Option("solver._target_", str, "dotted path of the class", fixed=True),
    Option("solver.max_order", int, "highest order", low=1, high=12),
    Option(
        "solver._steps_",
        str,
        "single ones, that can be redone; reversible ones; or hidden in a solver of its own",
        choices=("single", "reversible", "own"),
        fixed=True,
        semantic=False,
    ),
    Option(
        "gradient._steps_",
        str,
        "which steps of a solver it needs",
        choices=("any", "single", "reversible"),
        fixed=True,
        semantic=False,
    ),
    Option("solver._adaptive_", bool, "estimates its error", fixed=True, semantic=False),
    Option("solver.max_steps", int, "steps of one solve before it is given up", low=1),
    Option("controller._adaptive_", bool, "needs the error", fixed=True, semantic=False),
    Option("controller.step_size", float, "length of every step but the last", above=0),
    Option("controller.safety", float, "aim this far below the tolerance", above=0, below=1),
    Option("controller.factor_min", float, "strongest shrinking of a step", above=0, below=1),
    Option("controller.factor_max", float, "strongest growth of a step", above=1),
    Option("controller.first_step", float, "first step", above=0, null="chosen by the solver"),
    Option("controller.proportional", float, "weight of the error's change", low=0, high=1),
    Option("controller.integral", float, "weight of the error", above=0, high=1),
    Option(
        "gradient.norm",
        str,
        "which parts judge the error",
        choices=tuple(f"node_repro.ode.norm.{name}" for name in ("FULL", "SEMI", "FLAT")),
        fixed=True,
    ),
    Option("gradient.solver", str, "solver of the backward solve", null="the forward one"),
    *_TOLERANCES,
    Option("data._kind_", str, "what it holds", fixed=True, semantic=False),
    Option("data.dataset", str, "which set", choices=("mnist", "fashion_mnist"), fixed=True),
    Option("data.root", str, "folder of the files", null="the cache folder", semantic=False),
    Option(
        "data.source",
        str,
        "all digits, the 5000 embedded ones, or what there is",
        choices=("auto", "full", "embedded"),
        semantic=False,  # the data set's name, which the signature holds, says what it came to
    ),
    Option("data.download", bool, "download what is missing", semantic=False),
    Option("data.limit", int, "train on the first n images only", low=1, null="all"),
    Option("data.noise", float, "standard deviation of the blur", low=0.01),
    Option("data.scale", float, "what all lengths are multiplied with", above=0),
    Option("data.factor", float, "radius of the inner circle", above=0, below=1),
    Option("data.radial", float, "spread along an arm", above=0),
    Option("data.tangential", float, "spread across an arm", above=0),
    Option(
        "data.box", float, "half the side of the walled square", above=0, high=100, null="no wall"
    ),
    Option(
        "data.shape",
        str,
        "what draws the curves, or is learned",
        choices=(
            *(f"node_repro.data.spirals.{name}" for name in ("paper_like", "torchdiffeq")),
            *(f"node_repro.data.curve.{name}" for name in ("PLATEAUS", "WAVE")),
            *(f"node_repro.data.labelled.{name}" for name in ("CIRCLES", "MOONS", "SPIRALS")),
        ),
        fixed=True,
    ),
    Option("data.trajectories", int, "spirals in all, a tenth selects, two test", low=10),
    Option("data.observed", int, "points seen of the 100 of a window", low=1, high=100),
    Option("data.noise_sd", float, "standard deviation of the noise", low=0),
    Option("data.sequences", int, "sequences in all, a tenth selects, three test", low=10),
    Option("data.low", float, "lowest rate, events a unit of time", low=0),
    Option("data.high", float, "highest rate", above=0),
    Option("data.period", float, "time between two peaks of the rate", above=0),
    Option("data.end", float, "length of a sequence", above=0),
    Option("data.phases", str, "one rate for all, or a phase each", choices=("shared", "random")),
    Option("data.marks", bool, "events carry a noisy value"),
    Option("data.points", int, "times of the trajectory, or points to train on", low=3),
    Option("data.slope", float, "rate of change of the line"),
    Option("data.start", float, "value of the line at zero, which is known"),
    Option("data.path", str, "the CSV file: id, time, channel, value", semantic=False),
    Option("data.hide", str, "which times are predicted", choices=("between", "after")),
    Option("data.part", float, "how large a part is hidden", above=0, below=1),
    Option("data.seed", int, "seed of the data, apart from that of the run", low=0),
    Option(
        "optimizer._lr_batch_",
        int,
        "the batch size that lr is given for",
        low=1,
        null="any",
        fixed=True,
        semantic=False,
    ),
    Option("optimizer.lr", float, "learning rate; of sgd for batches of 128", above=0),
    Option("optimizer.momentum", float, "momentum", low=0, below=1),
    Option("schedule.final", float, "last rate as a fraction of lr", low=0, high=1),
    Option("schedule.warmup", float, "fraction of the run that warms up", low=0, below=1),
    Option("schedule.milestones", float, "where the rate falls", above=0, below=1, many=True),
    Option("schedule.factor", float, "what the rate is multiplied with there", above=0, high=1),
    *(
        Option(
            f"{group}._target_",
            str,
            "dotted path of the class",
            null="the solver's own" if group == "controller" else None,
            fixed=True,
        )
        for group in COMPONENTS
    ),
)
PROBE = (
    Option("probe._target_", str, "dotted path of the class", fixed=True, semantic=False),
    Option(
        "probe._experiments_",
        str,
        "experiments whose runs it is for",
        many=True,
        fixed=True,
        semantic=False,
    ),
    Option("probe.tolerances", float, "rtol = atol", above=0, many=True, semantic=False),
    Option("probe.batches", int, "minibatches", low=1, semantic=False),
    Option("probe.batch", int, "examples of a minibatch", low=1, semantic=False),
    Option("probe.examples", int, "of the test set, in all", low=1, semantic=False),
    Option("probe.shown", float, "tolerances in the picture", above=0, many=True, semantic=False),
    Option("probe.states", int, "sizes D of small states", low=1, many=True, semantic=False),
    Option("probe.hidden", int, "units of small networks", low=1, many=True, semantic=False),
    Option("probe.reference", float, "tolerance of the true solution", above=0, semantic=False),
    Option("probe.drawn", int, "inputs of a picture", low=1, semantic=False),
    Option("probe.repeats", int, "solves that a time is the median of", low=1, semantic=False),
    Option("probe.steps", int, "constant steps of a solve", low=1, many=True, semantic=False),
)
_FLOWS = (
    Option("profile.density_match.iterations", int, "trainer.iterations", low=1),
    Option("profile.density_match.discrete_iterations", int, "of the flow in layers", low=1),
    Option("profile.density_match.evaluate_every", int, "trainer.evaluate_every", low=1),
    Option("profile.density_match.lr", float, "optimizer.lr for task=density_match", above=0),
    Option("profile.cnf.iterations", int, "trainer.iterations for task=cnf", low=1),
    Option("profile.cnf.discrete_iterations", int, "of the flow in layers", low=1),
    Option("profile.cnf.evaluate_every", int, "trainer.evaluate_every", low=1),
    Option("profile.cnf.lr", float, "optimizer.lr for task=cnf", above=0),
)
PROFILE = (
    *_FLOWS,
    Option("profile.mnist.epochs", int, "trainer.epochs for task=mnist", low=1),
    Option("profile.mnist.iterations", int, "trainer.iterations", low=1, null="epochs decides"),
    Option("profile.mnist.limit", int, "data.limit for task=mnist", low=1, null="all"),
    Option(
        "profile.mnist.source",
        str,
        "data.source for task=mnist",
        choices=("auto", "full", "embedded"),
    ),
    Option("profile.latent_ode.iterations", int, "trainer.iterations for task=latent_ode", low=1),
    Option("profile.latent_ode.trajectories", int, "data.trajectories", low=10),
    Option("profile.poisson.iterations", int, "trainer.iterations for task=poisson", low=1),
    Option("profile.poisson.sequences", int, "data.sequences", low=10),
    Option("profile.field_fit.iterations", int, "trainer.iterations for task=field_fit", low=1),
    *(
        Option(f"profile.{task}.iterations", int, f"trainer.iterations for task={task}", low=1)
        for task in ("irregular", "regression", "classification", "line")
    ),
)
OPTIONS = {
    option.key: option for option in (*JOB, *ROOT, *TRAINER, *COMPONENT_OPTIONS, *PROBE, *PROFILE)
}
