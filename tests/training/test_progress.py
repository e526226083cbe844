"""What a person sees: lines and a log, a bar only where there is a terminal, an estimate."""

import io
import sys
from pathlib import Path

import pytest

from node_repro.record import OutputError
from node_repro.training import progress
from node_repro.training.progress import MEASURED, WARM_UP, Progress, duration

METRICS = {"loss_nats": 0.25, "error": 0.0312, "nfe_forward": 26.0, "nfe_backward": 31.5}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(folder: Path, bar: str = "off", total: int = 20, per_epoch: int = 10) -> Progress:
    return Progress(folder / "train.log", bar=bar, total=total, per_epoch=per_epoch)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time now; it stands still unless a test moves it."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_line_goes_to_stdout_and_to_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in ("first", "zweite ±"):
        shown(tmp_path).say(line)
    assert capsys.readouterr().out == "first\nzweite ±\n"
    assert (tmp_path / "train.log").read_text(encoding="utf-8") == "first\nzweite ±\n"


def test_log_that_cannot_be_written_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "train.log").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"Cannot write .*train\.log: the disk is full"):
        shown(tmp_path).say("a line")


@pytest.mark.parametrize(("bar", "terminal"), [("auto", False), ("off", False), ("off", True)])
def test_without_a_terminal_or_a_wish_there_is_no_bar(
    bar: str, terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    assert list(shown(tmp_path, bar).steps(range(20), 0)) == list(range(20))
    assert stderr.getvalue() == ""


@pytest.mark.parametrize(("bar", "terminal"), [("auto", True), ("on", True), ("on", False)])
def test_bar_starts_where_the_run_stands_and_shows_the_last_numbers(
    bar: str, terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("COLUMNS", "200")
    view = shown(tmp_path, bar)
    for step in view.steps(range(5, 20), 5):
        view.show("train", step, METRICS)
        assert view._bar is not None
        view._bar.refresh()
    assert "| 5/20 [" in stderr.getvalue()
    assert "loss 0.2500 error 3.12 % NFE 26.0/31.5" in stderr.getvalue()


def test_closed_stderr_is_no_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert not shown(tmp_path, "auto")._shown


def test_estimate_comes_once_from_the_first_iterations_after_the_warm_up(
    tmp_path: Path, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for done, _ in enumerate(shown(tmp_path, total=1007).steps(range(1007), 0)):
        clock[0] += 60.0 if done < WARM_UP else 0.5
    assert WARM_UP + MEASURED == 7
    assert capsys.readouterr().out == (
        "estimate   about 8 min of training at 0.50 s an iteration\n"
    )


def test_estimate_of_a_resumed_run_is_for_what_is_left(
    tmp_path: Path, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in shown(tmp_path, total=1007).steps(range(980, 1007), 980):
        clock[0] += 1.0
    assert capsys.readouterr().out.startswith("estimate   about 20 s ")


def test_short_run_has_no_estimate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    list(shown(tmp_path, total=7).steps(range(7), 0))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("step", "epoch"), [(10, "epoch 1/3"), (20, "epoch 2/3"), (25, "epoch 3/3")]
)
def test_validation_is_a_line_with_the_epochs_means(
    step: int, epoch: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    view = shown(tmp_path, total=25)
    view.show("train", step, METRICS)
    view.show("epoch", step, METRICS | {"step_seconds": 0.256})
    assert capsys.readouterr().out == ""
    view.show("validation", step, {"loss_nats": 0.5, "error": 0.1, "nfe_forward": 20.0})
    assert capsys.readouterr().out == (
        f"{epoch}  train loss 0.2500 error 3.12 % NFE 26.0/31.5  0.26 s/it  "
        "validation loss 0.5000 error 10.00 % NFE 20.0\n"
    )


def test_network_without_an_ode_shows_no_evaluations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    view = shown(tmp_path)
    view.show("epoch", 10, {"loss_nats": 0.5, "error": 0.25, "step_seconds": 0.5})
    view.show("validation", 10, {"loss_nats": 0.5, "error": 0.25})
    assert "NFE" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "about 1 s"),
        (89, "about 89 s"),
        (91, "about 2 min"),
        (3600, "about 60 min"),
        (9000, "about 2.5 h"),
    ],
)
def test_durations_are_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
