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
