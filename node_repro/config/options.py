"""Every key that a run may have, declared once: type, range, meaning, whether it changes results.

Which choice of a group has which key is said by its yaml; what a key may hold is said here. A key
that neither `--help` nor validation nor the signature knows cannot exist, because all read this.
"""

from node_repro.config.choice_options import COMPONENT_OPTIONS, PROBE
from node_repro.config.option import Option

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
ODE_GROUPS = ("solver", "controller", "gradient")
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
    Option(
        "threads",
        int,
        "CPU threads; auto: one, or all cores where kernels are large",
        low=1,
        high=1024,
        word="auto",
        semantic=False,
    ),
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
OPTIONS = {option.key: option for option in (*JOB, *ROOT, *TRAINER, *COMPONENT_OPTIONS, *PROBE)}
