"""Write signatures.json: the signature of every experiment and of single overrides.

    python tests/pinned/write_signatures.py

`tests/test_pinned.py` compares them with what the program composes. A signature that changes makes
finished runs unfindable, so this is run only for experiments and overrides that are new.
"""

import json
from pathlib import Path

from node_repro.config.choices import Choices, conf_folder
from node_repro.config.compose import compose
from node_repro.config.signature import signature

FILE = Path(__file__).with_name("signatures.json")
DATA = "pinned"  # stands for the name of the data set, which only loaded data have
SINGLE = (
    "",
    "rtol=1e-5",
    "rtol=1e-5 atol=1e-7",
    "precision=float64",
    "deterministic=true",
    "trainer.batch_size=64",
    "trainer.clip=1.0",
    "trainer.epochs=7",
    "trainer.iterations=50",
    "trainer.evaluate_every=10",
    "optimizer.lr=0.05",
    "optimizer=adam",
    "schedule=constant",
    "schedule.warmup=0.1",
    "model.blocks=2 model=resnet",
    "model.channels=32",
    "model.activation=softplus",
    "gradient.rtol=1e-6",
    "gradient.solver=bosh3",
    "gradient.controller=pi",
    "gradient.controller=constant gradient.step_size=0.05",
    "gradient.max_steps=77",
    "solver=rk4",
    "solver=rk4 controller.step_size=0.2",
    "solver=dopri5 controller=pi",
    "solver=dopri5 controller=constant",
    "solver.max_steps=123",
    "solver=rk4 gradient.solver=dopri5",
    "controller.safety=0.8",
    "data.source=full",
    "data=fashion_mnist",
    "task.crop_padding=0",
    "task=latent_ode model.latent=6",
    "task=latent_ode data=spirals_torchdiffeq",
    "task=poisson data.phases=random",
    "task=cnf model.width=16",
    "task=density_match data.box=3",
)


def main() -> None:
    """Write the file."""
    lines = {words: signature(compose(words.split()), DATA) for words in every_line()}
    FILE.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


def every_line() -> list[str]:
    """Overrides, separated by spaces."""
    choices = Choices([conf_folder()])
    lines = [f"experiment={name} profile=quick" for name in choices.names("experiment")]
    lines += [f"experiment={name} profile=paper" for name in choices.names("experiment")[::4]]
    lines += [f"solver={name}" for name in choices.names("solver")]
    lines += [f"task={name}" for name in choices.names("task")]
    lines += [f"gradient={name}" for name in choices.names("gradient") if name != "reversible"]
    return [*lines, "gradient=reversible solver=reversible_dopri5", *SINGLE]


if __name__ == "__main__":
    main()
