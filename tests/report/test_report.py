"""The report, made of small run directories with the files of real runs."""

import csv
import io
import json
import math
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from placed_runs import artifact, artifacts, claim, made, place, read, result, row_of

from node_repro.config.choices import Choices, conf_folder
from node_repro.report import sections
from node_repro.report.artifact import Verdict
from node_repro.report.drawings import run_arrays, run_picture
from node_repro.report.format import format_number
from node_repro.report.render import render_latex
from node_repro.report.section import find_sections
from node_repro.report.selection import Seeds
from node_repro.report.statistics import Spread
from node_repro.report.tables import Column, Table, format_cell, to_csv

VOID = {"meta", "img", "br", "hr", "link", "input"}


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Three seeds of ODE-Net, one of a ResNet, flows and spirals with pictures."""
    training = {"nfe_forward": 20.0, "nfe_backward": 14.0, "step_seconds": 0.5, "seconds": 9.0}
    for seed, error in enumerate((0.0050, 0.0060, 0.0070)):
        scores = {"error": error, "loss_nats": 0.02}
        place(tmp_path, result("table1_odenet", seed, test=scores, training=training))
    scores = {"error": 0.0080, "loss_nats": 0.02}
    place(tmp_path, result("table1_resnet", 0, test=scores, parameters=601482))
    for kind, kl in (("cnf", 0.10), ("nf", 0.30)):
        scores = {"loss_nats": kl - 1.8775, "kl_nats": kl}
        facts: dict[str, Any] = {"data": "u1", "findings": {"floor_nats": -1.8775}}
        path = place(tmp_path, result(f"fig4_u1_{kind}_32", 0, test=scores, **facts))
        density = np.outer(np.arange(9), np.arange(9))
        np.savez(path / "pictures" / "density.npz", Target=density, Model=density)
    scores = {"rmse_noisy": 0.16, "rmse_clean": 0.13, "rmse_window": 0.1}
    scores |= {"log_likelihood_nats": -0.5}
    path = place(tmp_path, result("table2_latent_ode_30", 0, test=scores, data="spirals-30"))
    Image.new("RGB", (30, 20), "white").save(path / "pictures" / "figure8_predictions.png")
    return tmp_path


class Page(HTMLParser):
    """Checks that tags are balanced; keeps what tags were opened with which attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, *tags: str) -> Iterator[dict[str, str | None]]:
        return (attrs for tag, attrs in self.seen if tag in tags)


def test_table_1_has_the_mean_the_deviation_and_the_binomial_error(outputs: Path) -> None:
    row = row_of(made(outputs), "table1", "ODE-Net")
    assert float(row["selected, %"]) == pytest.approx(0.60)
    assert float(row["selected, %, sd"]) == pytest.approx(0.10)
    assert row["selected, %, n"] == row["seeds"] == "3"
    assert float(row["s.e., %"]) == pytest.approx(100 * math.sqrt(0.006 * 0.994 / 10_000))
    assert row["parameters"] == "232970"


def test_other_digits_are_not_comparable_with_the_papers(tmp_path: Path) -> None:
    facts = {"data": "mnist-embedded", "test_count": 1000}
    place(tmp_path, result("table1_odenet", 0, test={"error": 0.0042}, **facts))
    folder = made(tmp_path)
    row = row_of(folder, "table1", "ODE-Net")
    assert row["equal to the paper's"] == Verdict.INCOMPARABLE.value
    assert "embedded" in (folder / "report.md").read_text(encoding="utf-8")


def test_full_and_embedded_digits_are_never_mixed(outputs: Path) -> None:
    facts = {"data": "mnist-embedded", "test_count": 1000}
    for name in ("table1_odenet", "table1_rknet"):
        place(outputs, result(name, 7, test={"error": 0.5}, **facts), since="2027-01-01T00:00:00")
    folder = made(outputs)
    assert float(row_of(folder, "table1", "ODE-Net")["selected, %"]) == pytest.approx(0.60)
    assert row_of(folder, "table1", "RK-Net")["selected, %"] == ""
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "finished on other digits only" in page
    assert {run.seed for run in read(outputs).unused()} == {7}


def test_of_several_signatures_the_newest_speaks_and_the_others_are_named(outputs: Path) -> None:
    newer = result("table1_odenet", 0, test={"error": 0.0099}, signature="1111bbbb")
    place(outputs, newer, since="2026-05-01T00:00:00+00:00")
    folder = made(outputs)
    assert float(row_of(folder, "table1", "ODE-Net")["selected, %"]) == pytest.approx(0.99)
    left = [run for run in read(outputs).unused() if run.experiment == "table1_odenet"]
    assert {run.signature for run in left} == {"0000aaaa"}
    assert "left out" in (folder / "tables" / "runs.csv").read_text(encoding="utf-8")


def test_other_profiles_and_unfinished_runs_are_left_out(outputs: Path) -> None:
    place(outputs, result("table1_odenet", 5, test={"error": 0.9}, profile="smoke"))
    unfinished = place(outputs, result("table1_odenet", 3, test={"error": 0.9}))
    (unfinished / "result.json").unlink()
    (unfinished / "status.json").write_text('{"state": "RUNNING", "since": "2026-01-01"}')
    damaged = place(outputs, result("table1_odenet", 4, test={"error": 0.9}))
    (damaged / "result.json").write_text("{")
    foreign = place(outputs, result("table1_odenet", 6, test={"error": 0.9}))
    (foreign / "result.json").write_text('{"data": "mnist"}')
    assert [run.seed for run in read(outputs).seeds("table1_odenet")] == [0, 1, 2]


def test_a_damaged_picture_is_left_out_and_the_rest_is_there(outputs: Path) -> None:
    assert "figure8b.png" in (made(outputs) / "report.md").read_text()
    (picture,) = outputs.rglob("figure8_predictions.png")
    whole = picture.read_bytes()
    for content in (b"", b"{}", whole[: len(whole) // 2], whole[:20] + b"x" * 40):
        picture.write_bytes(content)
        document = (made(outputs) / "report.md").read_text()
        assert "figure8b.png" not in document and "| ODE-Net" in document


def test_claims_follow_from_the_numbers(outputs: Path) -> None:
    equal = claim(outputs, "table1", "ODE-Net and ResNet", "error")
    assert equal.verdict is Verdict.UNTESTED
    assert "difference −0.20 points, no interval" in equal.measured
    half = claim(outputs, "table1", "half", "evaluations")
    assert half.verdict is Verdict.FAILS
    assert half.measured.endswith("= 0.70")
    for target, verdict in (("U1", Verdict.UNTESTED), ("U2", Verdict.OPEN)):
        assert claim(outputs, "figure4", target, "32 units").verdict is verdict


def test_claims_of_the_paper_and_own_checks_are_apart(outputs: Path) -> None:
    found = artifact(outputs, "figure4")
    assert {c.text[:2] for c in found.claims_of_paper} == {"U1", "U2", "U3"}
    assert len(found.claims_of_paper) == 9
    assert all("closely" in c.text or c.text.startswith("U4") for c in found.own_checks)
    folder = made(outputs)
    for name, title in (("report.md", "### {}\n"), ("index.html", "<h3>{}</h3>")):
        text = (folder / name).read_text(encoding="utf-8")
        paper, own = (title.format(t) for t in ("Claims of the paper", "Checks of our own"))
        assert text.index(paper) < text.index(own)


def test_networks_are_compared_on_all_of_mnist_alone(tmp_path: Path) -> None:
    facts: dict[str, Any] = {"data": "mnist-embedded", "test_count": 1000}
    for name, error in (("odenet", 0.25), ("resnet", 0.25), ("rknet", 0.15), ("stem_only", 0.45)):
        place(tmp_path, result(f"table1_{name}", 0, test={"error": error}, **facts))
    verdicts = [c.verdict for c in artifact(tmp_path, "table1").claims if "ODE" in c.text]
    assert verdicts[:3] == [Verdict.INCOMPARABLE] * 3


def test_one_seed_settles_no_comparison(outputs: Path) -> None:
    for kind, kl in (("cnf", 0.10), ("nf", 0.30)):
        facts: dict[str, Any] = {"data": "u1", "profile": "close", "test": {"kl_nats": kl}}
        place(outputs, result(f"fig4_u1_{kind}_32", 0, **facts))
    found = claim(outputs, "figure4", "U1", "= 32", "closer", profile="close")
    assert found.verdict is Verdict.UNDECIDED
    assert "difference 0.200 nats, no interval" in found.measured


def test_what_is_missing_is_named_with_its_command(outputs: Path) -> None:
    text = (made(outputs) / "report.md").read_text(encoding="utf-8")
    missing = text.partition("## What is missing")[2]
    assert "node-run experiment=table1_mlp profile=quick seed=0" in missing
    assert "node-run job=probe probe=memory experiment=table1_odenet" in missing
    names = set(Choices([conf_folder()]).names("experiment"))
    present = {"table1_odenet", "table1_resnet", "fig4_u1_cnf_32", "fig4_u1_nf_32"}
    present |= {"table2_latent_ode_30"}
    assert names - present == set(re.findall(r"node-run experiment=(\S+)", missing))


def test_commands_regenerate_what_is_shown(outputs: Path) -> None:
    text = (made(outputs) / "report.md").read_text(encoding="utf-8")
    assert "node-run -m experiment=table1_resnet,table1_odenet seed=0,1,2 profile=quick" in text
    assert "node-run experiment=table2_latent_ode_30 seed=0 profile=quick" in text


def test_the_page_is_one_balanced_file_that_needs_nothing_else(outputs: Path) -> None:
    text = (made(outputs) / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert not list(page.all("script", "link", "iframe", "object"))
    assert "http://" not in text and "https://" not in text
    assert not re.search(r"url\(|@import", text)
    images = list(page.all("img"))
    assert images
    for image in images:
        assert image["alt"]
        assert str(image["src"]).startswith("data:image/")
    ids = {attrs["id"] for _, attrs in page.seen if "id" in attrs}
    assert all(str(a["href"]).removeprefix("#") in ids for a in page.all("a"))
    assert all(cell["scope"] in ("col", "row") for cell in page.all("th"))
    assert [tag for tag, _ in page.seen].count("h1") == 1


def test_what_a_run_says_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    path = place(tmp_path, result("table1_odenet", 0, test={"error": 0.1}))
    environment = json.loads((path / "environment.json").read_text())
    environment["cpu_model"] = "<script>alert('x')</script> & | co_"
    (path / "environment.json").write_text(json.dumps(environment))
    folder = made(tmp_path)
    page = Page((folder / "index.html").read_text(encoding="utf-8"))
    assert page.open == [] and not list(page.all("script"))
    assert "<script" not in (folder / "report.md").read_text(encoding="utf-8").replace("\\<", "")
    assert r"$<$script$>$" in (folder / "tables" / "environments.tex").read_text(encoding="utf-8")


def test_equal_runs_make_equal_bytes(outputs: Path) -> None:
    folder = made(outputs)
    first = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for path in first:
        path.unlink()
    made(outputs)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == first
    assert {path.suffix for path in first} == {".html", ".md", ".csv", ".tex", ".svg", ".png"}


def test_what_an_earlier_report_had_besides_is_removed_and_other_files_are_not(
    outputs: Path,
) -> None:
    folder = made(outputs)
    (folder / "figures" / "old.svg").write_text("old")
    (folder / "figures" / "mine.txt").write_text("mine")
    made(outputs)
    assert not (folder / "figures" / "old.svg").exists()
    assert (folder / "figures" / "mine.txt").exists()


def test_a_report_of_nothing_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = made(tmp_path / "none")
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert Page(text).open == []
    assert "no finished runs of profile quick" in text
    assert "0 finished" in capsys.readouterr().out


def test_every_section_has_a_name_of_its_own_and_files_are_named_once(outputs: Path) -> None:
    made_of = artifacts(outputs)
    names = [a.name for a in made_of]
    files = [table.name for a in made_of for table in a.tables]
    files += [drawing.name for a in made_of for drawing in a.drawings]
    assert len(set(names)) == len(names)
    assert len(set(files)) == len(files)


def table_of(columns: list[tuple[str, int | None]], *rows: tuple[Any, ...]) -> Table:
    heads: list[Column[Any]] = [
        Column(title, lambda row, i=i: row[i], digits) for i, (title, digits) in enumerate(columns)
    ]
    return Table("t", "Of 50 % & more", heads, rows)


TABLE = table_of(
    [("name", None), ("error_a, %", 2), ("n", None)],
    ("a_b & {c}", Spread(0.5, 0.25, 3), 12_345),
    ("−1 ≤ θ²", 0.125, None),
)


IMPORTS = """
from node_repro.report import margins
from node_repro.report.rules import Rule, between
from node_repro.report.section import Parts, section
from node_repro.report.selection import Seeds, Selection
from node_repro.report.tables import Column, Table
"""


def test_a_section_is_added_by_one_file_as_the_docs_show(
    outputs: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    folder = tmp_path_factory.mktemp("sections")
    (folder / "evaluations.py").write_text(IMPORTS + code, encoding="utf-8")
    monkeypatch.setattr(sections, "__path__", [*sections.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, f"{sections.__name__}.evaluations", raising=False)
    assert [section.name for section in find_sections()][1] == "evaluations"
    added = artifact(outputs, "evaluations")
    assert [(c.measured, c.verdict) for c in added.claims] == [("0.70", Verdict.FAILS)]
    assert len(added.runs) == 3


def test_latex_escapes_what_it_would_take_for_its_own() -> None:
    text = render_latex(TABLE)
    assert r"a\_b \& \{c\} & 0.50 $\pm$ 0.25 & 12,345 \\" in text
    assert r"\caption{Of 50 \% \& more}" in text
    assert r"$-$1 $\le$ $\theta$$^{2}$" in text
    assert text.isascii()


def test_all_the_reports_tables_are_ascii_latex(outputs: Path) -> None:
    for path in (made(outputs) / "tables").glob("*.tex"):
        assert path.read_text(encoding="utf-8").isascii(), path.name


def test_csv_keeps_all_digits_and_takes_spreads_apart() -> None:
    head, first, second = csv.reader(io.StringIO(to_csv(TABLE)))
    assert head == ["name", "error_a, %", "error_a, %, sd", "error_a, %, n", "n"]
    assert first == ["a_b & {c}", "0.5", "0.25", "3", "12345"]
    assert second == ["−1 ≤ θ²", "0.125", "", "", ""]


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        (-0.001, 2, "0.00"),
        (-1234.5, 1, "−1,234.5"),
        (1.5e-7, None, "1.5·10⁻⁷"),
        (0.25, None, "0.25"),
        (math.inf, 2, "∞"),
        (math.nan, 2, "nan"),
    ],
)
def test_numbers_are_written_for_people(value: float, digits: int | None, expected: str) -> None:
    assert format_number(value, digits) == expected


def test_a_tolerance_is_a_power_for_people_and_a_number_in_csv() -> None:
    column: Column[float | None] = Column("tolerance", lambda value: value, power=True)
    table = Table("t", "", [column], (1e-5, None))
    assert list(csv.reader(io.StringIO(to_csv(table))))[1:] == [["1e-05"], [""]]
    assert str(format_cell(1e-5, column)) == "10⁻⁵"


def test_no_table_has_two_columns_of_one_name(outputs: Path) -> None:
    for table in (table for a in artifacts(outputs) for table in a.tables):
        titles = [column.title for column in table.columns]
        assert len(set(titles)) == len(titles), table.name


def test_markdown_lists_every_measured_claim_with_its_verdict_at_the_top(outputs: Path) -> None:
    text = (made(outputs) / "report.md").read_text(encoding="utf-8")
    overview = text.partition("## Claims and verdicts")[2].partition("\n## ")[0]
    claims = [claim for a in artifacts(outputs) for claim in a.claims]
    known = [claim for claim in claims if claim.verdict is not Verdict.OPEN]
    groups = {claim.of_paper for claim in known}
    assert known and overview.count("\n| ") == len(groups) + len(known)
    open_ones = [claim.of_paper for claim in claims if claim.verdict is Verdict.OPEN]
    assert f"{open_ones.count(True)} not measured" in overview
    assert f"{open_ones.count(False)} not measured" in overview
    assert "| ODE-Net and ResNet have the same test error |" in overview


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"data": "u1"}', b"\xff{"])
def test_a_damaged_result_is_missing_and_told_so(outputs: Path, content: bytes) -> None:
    (path,) = outputs.glob("fig4_u1_nf_32/*/seed0/result.json")
    path.write_bytes(content)
    missing = (made(outputs) / "report.md").read_text(encoding="utf-8").rpartition("## ")[2]
    assert "node-run experiment=fig4_u1_nf_32 profile=quick seed=0  # damaged" in missing


def test_damaged_pictures_and_arrays_and_probes_are_left_out(outputs: Path) -> None:
    (picture,) = outputs.glob("table2_latent_ode_30/*/seed0/pictures/figure8_predictions.png")
    (arrays,) = outputs.glob("fig4_u1_cnf_32/*/seed0/pictures/density.npz")
    probe = next(outputs.glob("table1_odenet/*/seed0")) / "probes" / "memory.json"
    probe.parent.mkdir()
    names = {drawing.name for a in artifacts(outputs) for drawing in a.drawings}
    for path in (picture, arrays):
        path.write_bytes(path.read_bytes()[:60])
    probe.write_text('{"facts": {}, "rows": {"gradient": "adjoint"}}')
    folder = made(outputs)
    left = {drawing.name for a in artifacts(outputs) for drawing in a.drawings}
    assert names - left == {"figure8b"} and "figure4_densities" in left
    assert "probe=memory experiment=table1_odenet" in (folder / "report.md").read_text()


def two_seeds(outputs: Path) -> Seeds:
    for seed in (0, 1):
        place(outputs, result("fig5_circles_cnf", seed, data="two_circles", test={"kl_nats": 0.1}))
    return read(outputs).seeds("fig5_circles_cnf")


def moving() -> bytes:
    """An animation of noise: long codes, which a cut ends in many places."""
    random = np.random.default_rng(0)
    frames = [Image.fromarray(random.integers(0, 255, (20, 30), np.uint8)) for _ in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def test_a_damaged_animation_is_taken_from_the_next_seed(tmp_path: Path) -> None:
    seeds = two_seeds(tmp_path)
    whole = moving()
    (seeds.runs[1].path / "pictures" / "animation.gif").write_bytes(whole)
    picture = io.BytesIO()
    Image.new("RGB", (30, 20)).save(picture, "PNG")
    cut = [whole[:length] for length in range(0, len(whole) - 2, 7)]
    for content in (*cut, b"not a picture", picture.getvalue()):
        (seeds.runs[0].path / "pictures" / "animation.gif").write_bytes(content)
        (drawing,) = run_picture("moving", seeds, "animation.gif", "Moving.", "It moves.")
        assert drawing.caption == "Moving. Seed 1."
        assert drawing.files == {"gif": whole}


def test_damaged_arrays_are_taken_from_the_next_seed(tmp_path: Path) -> None:
    seeds = two_seeds(tmp_path)
    for run in seeds:
        numbers = np.random.default_rng(run.seed).random((9, 9))
        np.savez_compressed(run.path / "pictures" / "density.npz", Target=numbers)
    path = seeds.runs[0].path / "pictures" / "density.npz"
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(20) + content[middle + 20 :])
    assert seeds.runs[0].arrays("pictures/density.npz") is None
    found = run_arrays(seeds, "density.npz")
    assert found is not None and found[0] == 1


def test_figure_1_is_drawn_as_lines_too(tmp_path: Path) -> None:
    path = place(tmp_path, result("fig1_odenet", 0, data="plateaus", test={"rmse_values": 0.1}))
    line = {"discrete": False, "ts": np.arange(3.0), "z": np.ones((3, 2))}
    line |= {"evaluated_t": np.ones((2, 3)), "evaluated_z": np.ones((2, 3))}
    line |= {"arrow_t": np.arange(2.0), "arrow_z": np.arange(2.0), "arrow_rate": np.ones((2, 2))}
    np.savez(path / "pictures" / "figure1.npz", **line)
    folder = made(tmp_path)
    first = (folder / "figures" / "figure1.svg").read_bytes()
    assert b"<svg" in first and (folder / "figures" / "figure1.png").is_file()
    (folder / "figures" / "figure1.svg").unlink()
    made(tmp_path)
    assert (folder / "figures" / "figure1.svg").read_bytes() == first
