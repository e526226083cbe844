"""Classification of points in the plane: cross-entropy of scores decoded from the final state."""

from collections.abc import Iterator, Mapping
from typing import Unpack

import torch
from torch import Tensor
from torch.nn import functional as F

from node_repro.data.labelled_points import ClassificationData, LabelledPoints
from node_repro.models import Deep
from node_repro.tasks import Loss, Picture, SplitTask, TaskSettings
from node_repro.tasks.arrays import to_numpy
from node_repro.tasks.likelihood import classification_loss, classification_scores
from node_repro.tasks.linear_probe import least_squares_predictions

GRID = 160  # points per side in a picture of decision regions
MARGIN = 1.15  # side of that picture over the largest coordinate of the test points
SHOWN = 400  # test points in that picture
PATHS = 150  # test points whose paths are drawn


class Classification(SplitTask[Deep, LabelledPoints, LabelledPoints]):
    """Classification of points in the plane.

    Args:
        data: The labelled points.
        settings: Settings of the run.
    """

    loss_metric = "loss_nats"
    selection_metric = "loss_nats"

    def __init__(self, *, data: ClassificationData, **settings: Unpack[TaskSettings]) -> None:
        super().__init__(data, **settings)
        self.classes = data.classes

    @property
    def sizes(self) -> Mapping[str, int]:
        return {"features": 2, "outputs": self.classes}

    def training_batch(self, step: int) -> LabelledPoints:
        return self.training_examples(step)

    def evaluation_batches(self, split: str) -> Iterator[LabelledPoints]:
        return self.evaluation_examples(split)

    def loss(self, model: Deep, batch: LabelledPoints) -> Loss:
        return classification_loss(model(batch.x), batch.label)

    def scores(self, model: Deep, batch: LabelledPoints) -> Mapping[str, Tensor]:
        return classification_scores(model(batch.x), batch.label)

    def diagnostics(self, model: Deep) -> Mapping[str, object]:
        """The test accuracy of an affine classifier of the inputs, fitted by least squares."""
        test = self.splits["test"]
        targets = F.one_hot(self.train.label, self.classes)
        predicted = least_squares_predictions(self.train.x, targets, test.x).argmax(1)
        return {"linear_accuracy": float((predicted == test.label.cpu()).double().mean())}

    def pictures(self, model: Deep, *, final: bool) -> Iterator[Picture]:
        from node_repro.figures import depth

        test = self.splits["test"]
        side = MARGIN * float(test.x.abs().max())
        steps = torch.linspace(-side, side, GRID).to(test.x)
        points = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1).reshape(-1, 2)
        parts = points.split(self.eval_batch_size)
        probabilities = torch.cat([model(part).softmax(1) for part in parts])
        grid = to_numpy(probabilities).reshape(GRID, GRID, -1)
        shown = self.first_test_examples(SHOWN)
        regions = depth.decision_regions(grid, side, to_numpy(shown.x), to_numpy(shown.label))
        yield Picture("decision.png", regions)
        if final:
            shown = self.first_test_examples(PATHS)
            z = model.path(shown.x).z
            yield Picture("latent.png", depth.class_paths(to_numpy(z), to_numpy(shown.label)))
