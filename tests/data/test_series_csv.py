"""Series from a CSV file: what is read, what is hidden, what is refused and where."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from node_repro.data import DataError
from node_repro.data.series_csv import SPAN, SeriesCSV

HEADER = "id,time,channel,value\n"


def table(series: int = 10, times: int = 8) -> str:
    """Channels a and b; b is missing at every odd time."""
    rows = [
        f"s{i},{100 + 10 * j + 0.1 * i},{channel},{i + j if channel == 'a' else 5 * j}"
        for i in range(series)
        for j in range(times)
        for channel in ("a", "b")
        if channel == "a" or j % 2 == 0
    ]
    return HEADER + "\n".join(rows) + "\n"


@pytest.fixture
def source(tmp_path: Path) -> SeriesCSV:
    path = tmp_path / "ward.csv"
    path.write_text(table())
    return SeriesCSV(path=str(path), hide="between", part=0.25, seed=0)


def test_every_value_is_shown_or_hidden_and_none_twice(source: SeriesCSV) -> None:
    data = source.load()
    assert data.channels == ("a", "b") and data.name == f"ward-between-{data.sha256[:8]}"
    splits = (data.train, data.validation, data.test)
    assert [len(split.shown.count) for split in splits] == [6, 2, 2]
    for split in splits:
        for shown, hidden in zip(split.shown.at, split.hidden.at, strict=True):
            assert not set(shown.tolist()) & set(hidden.tolist())
    assert sum(int(s.shown.seen.sum() + s.hidden.seen.sum()) for s in splits) == 10 * 8 * 3 // 2


def test_a_quarter_of_the_times_is_hidden_between_and_never_the_first(source: SeriesCSV) -> None:
    data = source.load()
    assert (data.train.hidden.count == 2).all()
    first = torch.minimum(data.train.shown.at[:, 0], data.train.hidden.at[:, 0])
    assert torch.equal(first, data.train.shown.at[:, 0])


def test_what_comes_after_is_hidden_after(source: SeriesCSV) -> None:
    data = replace(source, hide="after", part=0.4).load()
    for split in (data.train, data.test):
        cut = 0.6 * SPAN
        assert (split.shown.grid[split.shown.at] <= cut).all()
        assert (split.hidden.grid[split.hidden.at] > cut).all()


def test_values_are_standardised_over_the_training_series(source: SeriesCSV) -> None:
    data = source.load()
    values = torch.cat(
        [part.x[part.seen[..., 0], 0] for part in (data.train.shown, data.train.hidden)]
    )
    assert float(values.mean()) == pytest.approx(0, abs=1e-12)
    assert float(values.std(correction=0)) == pytest.approx(1, abs=1e-12)


def test_missing_values_are_carried_forward_and_not_seen(source: SeriesCSV) -> None:
    shown = replace(source, hide="after", part=0.2).load().train.shown
    seen, x = shown.seen[..., 1], shown.x[..., 1]
    assert seen[:, 0].all() and not seen[:, 1].any()
    assert torch.equal(x[:, 1], x[:, 0])


def test_nothing_hidden_is_carried_into_what_is_shown(source: SeriesCSV) -> None:
    data = source.load()
    for split in (data.train, data.test):
        shown = split.shown
        for i, k in enumerate(shown.count.tolist()):
            values = {0.0, *shown.x[i, :k, 1][shown.seen[i, :k, 1]].tolist()}
            assert set(shown.x[i, :k, 1].tolist()) <= values
    assert (data.train.hidden.x[~data.train.hidden.seen] == 0).all()


def test_times_run_from_0_over_the_span(source: SeriesCSV) -> None:
    data = source.load()
    assert data.train.shown.grid[0] == 0
    assert float(data.train.shown.grid[-1]) == pytest.approx(SPAN)
    assert (data.start, data.span) == (100.0, pytest.approx(70.9))


def test_rows_in_any_order_give_the_same_series(source: SeriesCSV) -> None:
    first = source.load()
    rows = Path(source.path).read_text().splitlines()[1:]
    Path(source.path).write_text(HEADER + "\n".join(reversed(rows)))
    again = source.load()
    assert torch.equal(first.train.shown.x, again.train.shown.x)
    assert torch.equal(first.test.hidden.at, again.test.hidden.at)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the header must be id,time,channel,value"),
        ("id,time,value\n", "line 1: the header must be"),
        (HEADER, "no rows"),
        (HEADER + "a,1,x,2\na,1,x\n", "line 3: .*4 cells, not 3"),
        (HEADER + "a,one,x,2\n", "line 2: the time 'one' .* finite number"),
        (HEADER + "a,1,x,1_000\n", "line 2: the value '1_000' .* finite number"),
        (HEADER + "a,1,x,nan\n", "line 2: the value 'nan'.* finite number; .* row"),
        (HEADER + "a,1,x,\n", "line 2: the value ''.* finite number; .* row"),
        (HEADER + "a,inf,x,2\n", "line 2: the time 'inf' .* finite"),
        (HEADER + ",1,x,2\n", "line 2: the id is empty"),
        (HEADER + "a,1,,2\n", "line 2: the channel is empty"),
        (HEADER + "a,1,x,2\nb,1,x,2\na,1.0,x,3\n", "line 4: 'x' of 'a' .* in line 2"),
        (HEADER + 'a,1,"x,2\n', "line 2: "),
        (HEADER + "a,1,x,2\n", "holds 1 series; at least 5"),
        (HEADER + "".join(f"{i},1,x,2\n" for i in range(9)), "all values are at the time 1"),
        (HEADER + "".join(f"{i},{t}9e307,x,2\n" for i in range(9) for t in "- "), "too far"),
        (HEADER + "".join(f"{i},{i},x,{i}e300\n" for i in range(9)), "values are too large"),
        (
            HEADER + "".join(f"{i},{i},x,{1 + i / 100}e308\n" for i in range(30)),
            "values are too large",
        ),
    ],
)
def test_bad_files_are_refused_by_line(source: SeriesCSV, text: str, message: str) -> None:
    Path(source.path).write_text(text)
    with pytest.raises(DataError, match=message):
        source.load()


def test_missing_and_binary_files_are_refused_in_a_sentence(source: SeriesCSV) -> None:
    with pytest.raises(DataError, match=r"Cannot read data\.path=none\.csv: No such file"):
        replace(source, path="none.csv").load()
    Path(source.path).write_bytes(b"\x80\x81")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        source.load()


def test_a_series_with_nothing_to_show_is_refused(source: SeriesCSV) -> None:
    with Path(source.path).open("a") as file:
        file.write("late,170,a,1\n")
    with pytest.raises(DataError, match=r"1 series have no time .* decrease data\.part"):
        replace(source, hide="after", part=0.4).load()


@pytest.mark.parametrize("value", ["0.3", "36.6"])
def test_a_channel_that_does_not_change_keeps_its_unit(source: SeriesCSV, value: str) -> None:
    """The mean of equal numbers differs from them by rounding, which is no deviation."""
    rows = [f"s{i},{j},still,{value}" for i in range(11) for j in range(7)]
    Path(source.path).write_text(HEADER + "\n".join(rows))
    assert source.load().sd.tolist() == [1.0]


def test_a_line_ends_where_csv_says_so(source: SeriesCSV) -> None:
    rows = [f"s{i}\u2028\x0b,{j},a,{j}" for i in range(5) for j in range(4)]
    text = HEADER + "\n".join(rows)
    Path(source.path).write_text(text)
    assert source.load().channels == ("a",)
    Path(source.path).write_text(text + "\ns1,9,a,none\n")
    with pytest.raises(DataError, match="line 22: the value 'none'"):
        source.load()


def test_series_to_select_or_test_of_which_nothing_is_hidden_are_refused(source: SeriesCSV) -> None:
    rows = [f"s{i},{j},a,{i + j}" for i in range(10) for j in range(5)]
    for late in range(10):  # the part holds times of one series alone
        Path(source.path).write_text(HEADER + "\n".join([*rows, f"s{late},9,a,1"]))
        with pytest.raises(DataError, match=r"data\.part=0\.2 hides nothing .* data\.seed=0"):
            replace(source, hide="after", part=0.2).load()


def test_channels_without_training_values_are_named(source: SeriesCSV) -> None:
    assert source.load().notice is None
    text, notices = table(), 0
    for i in range(10):
        Path(source.path).write_text(text + f"s{i},100.5,rare,80\n")
        notices += "no training series has values of rare" in (source.load().notice or "")
    assert notices >= 4  # of ten series, the two to select and the two to test
