"""Classification of points in the plane: cross-entropy of scores read off the last state."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from node_repro.data.labelled import ClassData, LabelledPoints
from node_repro.data.order import drawn
from node_repro.tasks import Loss, Picture
from node_repro.tasks.deep import as_deep, plain

GRID = 160  # points a side of drawn decision regions
MARGIN = 1.15  # the drawn square, over the reach of the test points
SHOWN = 400  # test points drawn
PATHS = 150  # of them, drawn on their way


class Classification:
    """data: labelled points of the plane, x: (B, 2), label: (B,)."""

    loss_metric = "loss_nats"
    selected_by = "loss_nats"
    iterations_per_epoch = None

    def __init__(
        self,
        *,
        data: ClassData,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.classes = data.classes
        self.train = data.train.to(device, dtype)
        self.splits = {
            "validation": data.validation.to(device, dtype),
            "test": data.test.to(device, dtype),
        }
        self.batch_size, self.eval_batch_size, self.seed = batch_size, eval_batch_size, seed

    @property
    def sizes(self) -> Mapping[str, int]:
        return {"features": 2, "outputs": self.classes}

    def training_batches(self, epoch: int, start: int) -> Iterator[LabelledPoints]:
        step = start
        while True:
            chosen = drawn(len(self.train.x), self.batch_size, self.seed, step)
            yield self.train.of(chosen.to(self.train.x.device))
            step += 1

    def evaluation_batches(self, split: str) -> Iterator[LabelledPoints]:
        parts = (part.split(self.eval_batch_size) for part in self.splits[split])
        return (LabelledPoints(*batch) for batch in zip(*parts, strict=True))

    def loss(self, model: nn.Module, batch: LabelledPoints) -> Loss:
        scores = model(batch.x)
        wrong = (scores.detach().argmax(1) != batch.label).to(torch.float32).mean()
        return Loss(F.cross_entropy(scores, batch.label), {"error": wrong})

    def scores(self, model: nn.Module, batch: LabelledPoints) -> Mapping[str, Tensor]:
        scores = model(batch.x)
        return {
            "loss_nats": F.cross_entropy(scores, batch.label, reduction="none"),
            "error": scores.argmax(1) != batch.label,
        }

    def concluded(self, means: Mapping[str, float]) -> Mapping[str, float]:
        return means

    def findings(self, model: nn.Module) -> Mapping[str, object]:
        """What a model without a depth would do: the accuracy of a line through the inputs."""
        return {"linear_accuracy": self._linear_accuracy()}

    def pictures(self, model: nn.Module, *, final: bool) -> Iterator[Picture]:
        from node_repro.figures import depth

        test = self.splits["test"]
        side = MARGIN * float(test.x.abs().max())
        steps = torch.linspace(-side, side, GRID).to(test.x)
        points = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1).reshape(-1, 2)
        chance = torch.cat([model(part).softmax(1) for part in points.split(self.eval_batch_size)])
        few = test.of(torch.arange(min(SHOWN, len(test.x)), device=test.x.device))
        yield Picture(
            "decision.png",
            depth.regions(
                plain(chance).reshape(GRID, GRID, -1), side, plain(few.x), plain(few.label)
            ),
        )
        if final:
            few = few.of(torch.arange(min(PATHS, len(few.x)), device=few.x.device))
            z = as_deep(model).path(few.x).z
            yield Picture("latent.png", depth.class_paths(plain(z), plain(few.label)))

    def _linear_accuracy(self) -> float:
        """The share of test points that the least-squares plane of the training points gets right,
        one against the rest."""

        def with_one(x: Tensor) -> Tensor:
            return torch.cat((x, torch.ones_like(x[:, :1])), dim=1).double().cpu()

        test = self.splits["test"]
        targets = F.one_hot(self.train.label.cpu(), self.classes).double()
        plane = torch.linalg.lstsq(with_one(self.train.x), targets, driver="gelsd").solution
        said = (with_one(test.x) @ plane).argmax(1)
        return float((said == test.label.cpu()).double().mean())
