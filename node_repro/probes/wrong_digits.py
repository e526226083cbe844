"""The test digits that a network gets wrong, for comparisons digit by digit."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from node_repro.models import Classifier
from node_repro.probes import Measurement, NotApplicable, Row, TrainedRun, Weights


@dataclass(frozen=True)
class WrongDigits:
    """Indices of the wrong test digits and their predicted classes, of the selected and last model.

    All test digits are classified, in the same batches as by the run itself, because the steps of
    an adaptive solver depend on the batch.
    """

    def measure(self, run: TrainedRun) -> Measurement:
        rows = [self._row(run, "selected")]
        if run.step("last") == run.step("selected"):
            rows.append({**rows[0], "weights": "last"})
        else:
            rows.append(self._row(run, "last"))
        return Measurement({"examples": rows[0]["examples"]}, rows)

    def _row(self, run: TrainedRun, weights: Weights) -> Row:
        predicted, labels = _classify(run.model(weights), run)
        wrong = (predicted != labels).nonzero().reshape(-1)
        run.print_progress(f"{weights}: {len(wrong):,} of {len(labels):,} test digits wrong")
        return {
            "weights": weights,
            "step": run.step(weights),
            "examples": len(labels),
            "error": len(wrong) / len(labels),
            "wrong": wrong.tolist(),
            "predicted": predicted[wrong].tolist(),
        }


def _classify(model: nn.Module, run: TrainedRun) -> tuple[Tensor, Tensor]:
    """Predicted classes and labels of all test digits, (N,)."""
    if not isinstance(model, Classifier):
        raise NotApplicable("a classifier of images")
    predicted, labels = [], []
    with torch.no_grad():
        for batch in run.task.evaluation_batches("test"):
            predicted.append(model(batch.images).argmax(1).cpu())
            labels.append(batch.labels.cpu())
    return torch.cat(predicted), torch.cat(labels)
