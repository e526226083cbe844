"""A data seed of null: every run draws data of its own."""

import pytest

from node_repro.config import Config
from node_repro.config.compose import compose
from node_repro.config.signature import signature
from node_repro.training import build


@pytest.mark.parametrize(
    "experiment", ["table2_rnn_30", "fig7_poisson", "toys_rings", "toys_linear", "toys_regression"]
)
def test_a_data_seed_of_null_is_that_of_the_run(experiment: str) -> None:
    def config(*words: str) -> Config:
        return compose([f"experiment={experiment}", "profile=smoke", *words])

    third, fourth = config("seed=3"), config("seed=4")
    contents = [build.data(one).facts["sha256"] for one in (third, fourth)]
    assert contents[0] != contents[1]
    assert contents[0] == build.data(config("seed=0", "data.seed=3")).facts["sha256"]
    assert signature(third, "data") == signature(fourth, "data")
