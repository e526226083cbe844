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

from node_repro.config.choices import Choices, conf_folder
from node_repro.config.compose import compose
from node_repro.report import sections
from node_repro.report.artifact import Artifact, Claim, Verdict
from node_repro.report.drawings import run_arrays, run_picture
from node_repro.report.format import format_number
from node_repro.report.job import report
from node_repro.report.render import render_latex
from node_repro.report.section import find_sections
from node_repro.report.selection import Seeds, Selection, select_runs
from node_repro.report.statistics import Spread
from node_repro.report.tables import Column, Table, format_cell, to_csv

VOID = {"meta", "img", "br", "hr", "link", "input"}


def result(experiment: str, seed: int, **facts: Any) -> dict[str, Any]:
    """A result.json, its scores and training as given by name."""
    test, training = facts.pop("test"), facts.pop("training", {})
    scores = {"step": 10, "test": test, "test_standard_error": 0.001}
    shared: dict[str, Any] = {"experiment": experiment, "seed": seed, "training": training}
    shared |= {"data": "mnist", "data_notice": None, "profile": "quick", "device": "cpu"}
    shared |= {"task": "mnist", "model": "odenet", "version": "0.1.0", "signature": "0000aaaa"}
    shared |= {"parameters": 232970, "iterations": 10, "epochs": 1.0, "selected_by": "error"}
    shared |= {"test_count": 10_000, "last": scores, "selected": scores, "findings": {}}
    return shared | facts


def place(outputs: Path, content: dict[str, Any], since: str = "2026-01-02T03:04:05+00:00") -> Path:
    """A finished run's directory."""
    folder = f"{content['profile']}-{content['data']}-{content['signature']}"
    path = outputs / content["experiment"] / folder / f"seed{content['seed']}"
    (path / "pictures").mkdir(parents=True)
    environment = {
        "package_version": "0.1.0",
        "python": "3.11.7",
        "cpu_model": "a processor",
        "versions": {"torch": "2.13.0+cpu"},
        "git": {"sha": "0123456789abcdef", "dirty": False},
        "torch": {"threads": 1},
    }
    for name, value in (
        ("result.json", content),
        ("status.json", {"state": "COMPLETED", "since": since}),
        ("environment.json", environment),
    ):
        (path / name).write_text(json.dumps(value))
    (path / "config.yaml").write_text("# signature: 0000aaaa\nseed: 0\n")
    lines = [
        {"step": step, "split": split, "seconds": step / 10, "loss_nats": 1 / step, "error": 0.1}
        for step in (1, 2, 3, 4)
        for split in ("train", "validation")
    ]
    (path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


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


def made(outputs: Path, *words: str) -> Path:
    """The report's folder."""
    assert report(compose(["job=report", f"outputs={outputs}", "profile=quick", *words])) == 0
    return outputs / "report"


def read(outputs: Path) -> Selection:
    return select_runs(outputs, "quick", Choices([conf_folder()]).names("experiment"))


def artifacts(outputs: Path) -> list[Artifact]:
    selection = read(outputs)
    return [section(selection) for section in find_sections()]


def artifact(outputs: Path, name: str) -> Artifact:
    (section,) = (section for section in find_sections() if section.name == name)
    return section(read(outputs))


def claim(outputs: Path, name: str, *words: str) -> Claim:
    """The claim of a section whose text has all these words."""
    claims = artifact(outputs, name).claims
    (found,) = (c for c in claims if all(word in c.text for word in words))
    return found


def row_of(folder: Path, table: str, heading: str) -> dict[str, str]:
    with open(folder / "tables" / f"{table}.csv", encoding="utf-8") as file:
        (row,) = (r for r in csv.DictReader(file) if heading in r.values())
    return row


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


@pytest.mark.parametrize(
    ("errors", "verdict"),
    [((0.0045,), Verdict.WITHIN), ((0.0065,), Verdict.OUTSIDE), ((0.0020,), Verdict.OUTSIDE)],
)
def test_the_verdict_on_an_error_is_its_distance_in_standard_errors(
    tmp_path: Path, errors: tuple[float, ...], verdict: Verdict
) -> None:
    # ODE-Net, 0.42 % in the paper: s.e. 0.065 points there and 0.067, 0.080, 0.045 here
    for seed, error in enumerate(errors):
        place(tmp_path, result("table1_odenet", seed, test={"error": error}))
    assert row_of(made(tmp_path), "table1", "ODE-Net")["verdict"] == verdict.value


def test_other_digits_are_not_comparable_with_the_papers(tmp_path: Path) -> None:
    facts = {"data": "mnist-embedded", "test_count": 1000}
    place(tmp_path, result("table1_odenet", 0, test={"error": 0.0042}, **facts))
    folder = made(tmp_path)
    row = row_of(folder, "table1", "ODE-Net")
    assert row["verdict"] == Verdict.INCOMPARABLE.value
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
    # 0.60 +- 0.096 points (binomial 0.077, seeds 0.058) against 0.80 +- 0.089: 0.20 < 2 x 0.131
    equal = claim(outputs, "table1", "ODE-Net and ResNet", "error")
    assert equal.verdict is Verdict.HOLDS
    assert "−0.20 ± 0.13 points" in equal.measured
    half = claim(outputs, "table1", "half", "evaluations")
    assert half.verdict is Verdict.PARTLY
    assert half.measured.endswith("= 0.70")
    for target, verdict in (("U1", Verdict.HOLDS), ("U2", Verdict.OPEN)):
        assert claim(outputs, "figure4", target, "32 units").verdict is verdict


def test_networks_are_compared_on_all_of_mnist_alone(tmp_path: Path) -> None:
    facts: dict[str, Any] = {"data": "mnist-embedded", "test_count": 1000}
    for name, error in (("odenet", 0.25), ("resnet", 0.25), ("rknet", 0.15), ("stem_only", 0.45)):
        place(tmp_path, result(f"table1_{name}", 0, test={"error": error}, **facts))
    verdicts = [c.verdict for c in artifact(tmp_path, "table1").claims if "ODE" in c.text]
    assert verdicts[:3] == [Verdict.INCOMPARABLE] * 3


def test_one_seed_settles_no_comparison(outputs: Path) -> None:
    assert claim(outputs, "figure4", "U1", "closer").verdict is Verdict.PARTLY


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
from node_repro.report.rules import Rule, at_most, less_than
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
    assert [(c.measured, c.verdict) for c in added.claims] == [("0.70", Verdict.PARTLY)]
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
    assert known and overview.count("\n| ") == 1 + len(known)
    assert f"{len(claims) - len(known)} not measured" in overview
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
    assert names - left == {"figure8b"} and "figure4_u1" in left
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


@pytest.mark.parametrize(
    ("nf", "expected"), [({2: 0.05}, Verdict.FAILS), ({2: 0.05, 8: 0.30}, Verdict.PARTLY)]
)
def test_sizes_that_were_not_measured_save_no_claim(
    tmp_path: Path, nf: dict[int, float], expected: Verdict
) -> None:
    for size, kl in nf.items():
        for kind, value in (("cnf", 0.10), ("nf", kl)):
            facts = {"data": "u1", "test": {"loss_nats": value - 1.8775, "kl_nats": value}}
            place(tmp_path, result(f"fig4_u1_{kind}_{size}", 0, **facts))
    assert claim(tmp_path, "figure4", "U1", "closer").verdict is expected


@pytest.mark.parametrize(
    ("plane", "lifted", "expected"),
    [
        ((0.2, 0.3), (0.01, 0.02), Verdict.HOLDS),
        ((0.2, 0.3), (0.01, 0.2), Verdict.FAILS),
        ((0.04, 0.05), (0.01, 0.02), Verdict.FAILS),
        ((0.2, 0.3), (), Verdict.OPEN),
    ],
)
def test_rings_are_judged_by_the_mean_over_seeds(
    tmp_path: Path, plane: tuple[float, ...], lifted: tuple[float, ...], expected: Verdict
) -> None:
    for name, errors in (("toys_rings", plane), ("toys_rings_lifted", lifted)):
        for seed, error in enumerate(errors):
            place(tmp_path, result(name, seed, data="labelled_circles", test={"error": error}))
    assert claim(tmp_path, "toys", "rings").verdict is expected


@pytest.mark.parametrize(("at_50", "expected"), [(0.3, Verdict.HOLDS), (0.39, Verdict.PARTLY)])
def test_the_largest_advantage_is_judged_over_seeds(
    tmp_path: Path, at_50: float, expected: Verdict
) -> None:
    # at 30 the RNN's RMSE is 0.40 above; seeds are 0.02 apart, so a mean's s.e. is 0.012
    for seed in range(3):
        for count, gap in ((30, 0.40), (50, at_50), (100, 0.1)):
            for model, rmse in (("latent_ode", 0.1), ("rnn", 0.1 + gap)):
                facts = {"data": f"spirals-{count}", "test": {"rmse_noisy": rmse + 0.02 * seed}}
                place(tmp_path, result(f"table2_{model}_{count}", seed, **facts))
    assert claim(tmp_path, "table2", "largest").verdict is expected


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
