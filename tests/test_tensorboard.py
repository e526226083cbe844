"""What TensorBoard's own server answers for runs of the smoke profile, over HTTP, here."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from tests.test_run import go

pytestmark = pytest.mark.slow

EXPERIMENTS = {"table1_resnet": "resnet", "fig5_circles_cnf": "cnf", "table1_odenet": "odenet"}
PATIENCE = 120  # seconds for the server to have read all runs
CHART_OF_NFE = "solver/train/(nfe_forward|nfe_backward)$"


class Server:
    """`tensorboard --logdir outputs`. fast: with the data server in Rust, else that in Python."""

    def __init__(self, logdir: Path, *, fast: bool) -> None:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir)]
        command += ["--host", "localhost", "--port", str(port)]
        command += ["--load_fast", "true" if fast else "false"]
        self.address = f"http://localhost:{port}/data/"
        self._open = build_opener(ProxyHandler({})).open
        self._process = subprocess.Popen(
            command,
            env=os.environ | {"PYTHONWARNINGS": "ignore"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait(self, runs: int) -> None:
        """Until every run is read to its end."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if len(self.get("plugin/text/tags")) == runs and all(
                    "run/result" in tags for tags in self.get("plugin/text/tags").values()
                ):
                    return
            except (URLError, ConnectionError):
                pass
            time.sleep(0.5)
        pytest.fail(f"TensorBoard did not show {runs} runs within {PATIENCE} seconds")

    def get(self, path: str, **asked: str) -> Any:  # noqa: ANN401
        with self._open(f"{self.address}{path}?{urlencode(asked)}", timeout=30) as answer:
            return json.load(answer)

    def post(self, path: str, **asked: object) -> Any:  # noqa: ANN401
        body = json.dumps(asked).encode()
        head = {"Content-Type": "application/json"}
        with self._open(Request(self.address + path, body, head), timeout=30) as answer:
            return json.load(answer)

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)  # its data server, too
        self._process.wait(30)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("outputs")
    for experiment, name in EXPERIMENTS.items():
        words = ["profile=smoke", "trainer.log_every=1", "threads=1", "progress=off"]
        assert go(outputs, f"experiment={experiment}", *words, name=name).code == 0
    return outputs


@pytest.fixture(scope="module", params=[True, False], ids=["fast", "python"])
def server(outputs: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param:
        pytest.importorskip("tensorboard_data_server")
    server = Server(outputs, fast=request.param)
    try:
        server.wait(len(EXPERIMENTS))
        yield server
    finally:
        server.stop()


def test_a_run_is_called_by_its_path_and_there_is_one_for_each_directory(server: Server) -> None:
    assert sorted(server.get("runs")) == sorted(f"{name}/seed0" for name in EXPERIMENTS.values())


def test_curves_have_descriptions(server: Server) -> None:
    tags = server.get("plugin/scalars/tags")
    assert "nats" in tags["cnf/seed0"]["validation/nll_nats"]["description"]
    assert "evaluations" in tags["odenet/seed0"]["solver/train/nfe_forward"]["description"]
    assert not [tag for tag in tags["resnet/seed0"] if tag.startswith("solver/")]


def test_custom_scalars_have_the_charts_of_all_runs(server: Server) -> None:
    layout = server.get("plugin/custom_scalars/layout")
    charts = {c["title"]: [x["title"] for x in c["chart"]] for c in layout["category"]}
    assert set(charts) == {"Learning", "Solver", "Cost"}
    assert set(charts["Learning"]) >= {"loss (nats)", "error (fraction)", "NLL (nats)"}
    assert set(charts["Solver"]) >= {"NFE of a training iteration", "step size h: mean, min, max"}
    assert all(len(titles) == len(set(titles)) for titles in charts.values())


def test_nfe_forward_and_backward_are_in_one_chart(server: Server) -> None:
    layout = server.get("plugin/custom_scalars/layout")
    (solver,) = (c for c in layout["category"] if c["title"] == "Solver")
    (chart,) = (c for c in solver["chart"] if c["title"].startswith("NFE"))
    assert chart["multiline"]["tag"] == [CHART_OF_NFE]
    found = server.get("plugin/custom_scalars/scalars", run="odenet/seed0", tag=CHART_OF_NFE)
    assert found["regex_valid"]
    curves = found["tag_to_events"]
    assert set(curves) == {"solver/train/nfe_forward", "solver/train/nfe_backward"}
    assert [len(points) for points in curves.values()] == [4, 4]
    assert all(value > 0 for points in curves.values() for _, _, value in points)


def test_hparams_have_a_row_for_each_run_with_its_final_numbers(
    server: Server, outputs: Path
) -> None:
    about = server.post("plugin/hparams/experiment", experimentName="", includeMetrics=True)
    tags = [info["name"]["tag"] for info in about["metricInfos"]]
    found = server.post(
        "plugin/hparams/session_groups",
        experimentName="",
        allowedStatuses=["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"],
        colParams=[{"metric": info["name"]} for info in about["metricInfos"]],
        startIndex=0,
        sliceSize=100,
        includeMetrics=True,
    )
    rows = {group["sessions"][0]["name"]: group for group in found["sessionGroups"]}
    assert sorted(rows) == sorted(f"{name}/seed0" for name in EXPERIMENTS.values())
    assert all(len(group["sessions"]) == 1 for group in rows.values())
    wanted = {
        "resnet": {"test/selected/error": "error", "test/selected/loss_nats": "loss_nats"},
        "odenet": {"test/selected/error": "error", "test/selected/loss_nats": "loss_nats"},
        "cnf": {"test/selected/nll_nats": "nll_nats"},
    }
    for name, metrics in wanted.items():
        group = rows[f"{name}/seed0"]
        result = json.loads((outputs / name / "seed0" / "result.json").read_text())
        numbers = {m["name"]["tag"]: m["value"] for m in group["sessions"][0]["metricValues"]}
        assert set(numbers) <= set(tags)
        for tag, metric in metrics.items():
            assert numbers[tag] == pytest.approx(result["selected"]["test"][metric], rel=1e-6)
        assert numbers["cost/final/parameters"] == result["parameters"]
        assert numbers["cost/final/training_seconds"] > 0
        assert ("solver/epoch/nfe_forward" in numbers) == (name != "resnet")
        assert group["hparams"]["model.choice"] == name
        assert group["sessions"][0]["status"] == "STATUS_SUCCESS"


def test_pictures_distributions_and_texts_are_shown(server: Server) -> None:
    pictures = server.get("plugin/images/tags")["cnf/seed0"]
    assert set(pictures) >= {"pictures/panels", "pictures/animation", "pictures/density"}
    assert set(server.get("plugin/histograms/tags")["odenet/seed0"]) == {
        "solver/h",
        "solver/nfe_forward",
    }
    (text,) = server.get("plugin/text/text", run="odenet/seed0", tag="run/configuration")
    assert "<td><code>model.choice</code></td>\n<td>odenet</td>" in text["text"]
    (text,) = server.get("plugin/text/text", run="odenet/seed0", tag="run/result")
    assert "NOT THE FULL MNIST" in text["text"]
