"""Evaluations of f for single examples, against how difficult the examples are.

"test" rows have, for each of the first test examples, the evaluations of its solve, forward and
backward by the adjoint method, and its loss, its margin (the score of its class less the largest
other score) and whether it is classified correctly. "rotation" and "noise" rows have the forward
evaluations of some of the same examples, rotated and with added normal noise. The tolerance is the
same for all. The file difficulty_digits.json has some of the images with their evaluations.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from node_repro.data import Batch
from node_repro.data.generated import seeded_generator
from node_repro.ode.gradients.adjoint import Adjoint
from node_repro.ode.norm import FLAT, FULL, Norm
from node_repro.ode.solver import Solver
from node_repro.probes import Count, Measurement, NotApplicable, Positive, Row, TrainedRun
from node_repro.probes.solve import Solve, differentiate, forward, record_solve
from node_repro.tasks import Task
from node_repro.training.build import named_solver

NORMS: dict[str, Norm] = {"vode_adams": FLAT, "dopri5": FULL}
ANGLES = (0.0, 15.0, 30.0, 45.0, 60.0)  # degrees
NOISE = (0.0, 0.1, 0.2, 0.4, 0.8)  # standard deviation; white is 1
SHADES = 16  # of a pixel in the file
SHOWN = 50  # examples in the file


@dataclass(frozen=True)
class Difficulty:
    """Evaluations of f for single examples.

    Args:
        tolerance: rtol = atol of the solves, forward and backward.
        examples: Number of test examples.
        disturbed: Number of them that are also rotated, and disturbed by noise.
    """

    tolerance: Positive
    examples: Count
    disturbed: Count

    def measure(self, run: TrainedRun) -> Measurement:
        model, task = run.model(), run.task
        batches = run.test_batches(1, self.examples)
        if not all(isinstance(batch, Batch) for batch in batches):
            raise NotApplicable("a classifier of images")
        solvers = {name: named_solver(name, self.tolerance) for name in NORMS}
        rows: list[Row] = []
        for k, batch in enumerate(batches):
            solve = record_solve(model, task, batch)
            costs = {
                f"{name}_{direction}": nfe
                for name, solver in solvers.items()
                for direction, nfe in _both_ways(solve, solver, NORMS[name]).items()
            }
            rows.append({"source": "test", "example": k, **_scores(model, batch), **costs})
            if (k + 1) % 100 == 0 or k + 1 == len(batches):
                run.print_progress(f"{k + 1} of {len(batches)} examples: {costs}")
        some = batches[: self.disturbed]
        rows += _disturbed(model, task, some, solvers)
        run.print_progress(f"{len(some)} examples at {len(ANGLES)} angles and {len(NOISE)} noises")
        facts = {"examples": len(batches), "disturbed": len(some), "tolerance": self.tolerance}
        files = {"difficulty_digits.json": _digits(rows, batches)}
        return Measurement(facts, rows, files)


def _both_ways(solve: Solve, solver: Solver, norm: Norm) -> Row:
    """Evaluations of the forward and of the backward solve, whose first step is not inherited."""
    passed = differentiate(solve, solver, Adjoint(norm, solver=solver))
    return {"forward": passed.stats.nfe, "backward": passed.backward.nfe}


def _scores(model: nn.Module, batch: Batch) -> Row:
    """Class, loss, margin and error of a batch of one example."""
    with torch.no_grad():
        scores = model(batch.images)[0].double()
    label = int(batch.labels[0])
    others = torch.cat([scores[:label], scores[label + 1 :]])
    return {
        "class": label,
        "loss_nats": float(F.cross_entropy(scores, batch.labels[0])),
        "margin": float(scores[label] - others.max()),
        "error": int(scores.argmax()) != label,
    }


def _disturbed(
    model: nn.Module, task: Task, batches: Sequence[Batch], solvers: dict[str, Solver]
) -> Iterator[Row]:
    """Forward evaluations of rotated examples, and of examples with noise."""
    for k, batch in enumerate(batches):
        generator = seeded_generator(k)
        noise = torch.randn(batch.images.shape, generator=generator).to(batch.images)
        changed = {
            "rotation": [(angle, rotated(batch.images, angle)) for angle in ANGLES],
            "noise": [(sd, batch.images + sd * noise) for sd in NOISE],
        }
        for source, levels in changed.items():
            for level, images in levels:
                other = batch._replace(images=images)
                solve = record_solve(model, task, other)
                costs = {f"{n}_forward": forward(solve, s).stats.nfe for n, s in solvers.items()}
                scores = _scores(model, other)
                yield {"source": source, "example": k, "level": level, **scores, **costs}


def rotated(images: Tensor, degrees: float) -> Tensor:
    """Images (B, 1, H, W) rotated counter-clockwise about their centre; outside them it is 0."""
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    # the place in the image from which each pixel is taken; the second coordinate points down
    inverse = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]]).to(images)
    grid = F.affine_grid(inverse.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def _digits(rows: Sequence[Row], batches: Sequence[Batch]) -> bytes:
    """Images with their evaluations, evenly from the least to the most expensive."""
    key = f"{next(iter(NORMS))}_forward"
    tests = sorted((row for row in rows if row["source"] == "test"), key=lambda row: row[key])
    count = min(SHOWN, len(tests))
    shown = [tests[i * (len(tests) - 1) // max(count - 1, 1)] for i in range(count)]
    digits = []
    for row in shown:
        pixels = batches[row["example"]].images[0, 0] * (SHADES - 1)
        image = {"shades": SHADES, "pixels": pixels.round().int().tolist()}
        digits.append({name: value for name, value in row.items() if name != "source"} | image)
    return json.dumps(digits, separators=(",", ":")).encode()
