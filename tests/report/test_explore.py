"""The interactive page: its panels, its functions against those of Python, and a browser."""

import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import node_repro.report
from node_repro.data.examples import move_examples
from node_repro.data.spirals import Spirals, paper_like
from node_repro.models.latent_ode import LatentODE
from node_repro.models.planar_cnf import PlanarCNF
from node_repro.report.explore import FLOWS, encode
from node_repro.tasks.explore import flow_picture, latent_picture
from tests.ode.chosen import GRADIENTS, adaptive
from tests.report.test_report import Page, made, place, result

MATHS = Path(node_repro.report.__file__).parent / "templates" / "explore" / "maths.js"
NODE = shutil.which("node")
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
SOLVE: dict[str, Any] = {"solver": adaptive("dopri5", 1e-9), "gradient": GRADIENTS["direct"]}

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def latent() -> LatentODE:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"features": 2, "latent": 3, "hidden": 5, "width": 20}
    return LatentODE(cell="tanh", samples=1, predicted=1, **sizes, **SOLVE).requires_grad_(False)


@pytest.fixture(scope="module")
def flow() -> PlanarCNF:
    torch.manual_seed(1)
    flow = PlanarCNF(width=6, hyper_hidden=8, end=3.0, **SOLVE).requires_grad_(False)
    for parameter in flow.parameters():
        parameter.mul_(2)
    return flow


@pytest.fixture(scope="module")
def latent_file(latent: LatentODE) -> bytes:
    data = Spirals(shape=paper_like, trajectories=50, observed=100, noise_sd=0.1, seed=0).load()
    test = move_examples(data.test, torch.device("cpu"), torch.float32)
    return latent_picture(latent, latent.posterior(test.observed), test).content


@pytest.fixture(scope="module")
def flow_file(flow: PlanarCNF) -> bytes:
    random = torch.Generator().manual_seed(2)
    base, points = torch.randn(2, 60, 2, generator=random)
    density = np.random.default_rng(0).random((4, 8, 8))
    return flow_picture(flow, density, base, points, 3.0).content


def read(content: bytes) -> Arrays:
    with np.load(io.BytesIO(content)) as arrays:
        return dict(arrays)


def finish(outputs: Path, experiment: str, content: bytes) -> Path:
    """A finished run of an experiment with this explore.npz; returns the file."""
    run = place(outputs, result(experiment, 0, test={}, data="points"))
    file = run / "pictures" / "explore.npz"
    file.write_bytes(content)
    return file


def digit(example: int, forward: int, margin: float) -> dict[str, Any]:
    """A digit as the probe difficulty writes it."""
    costs = {"dopri5_forward": forward, "dopri5_backward": 2 * forward, "vode_adams_forward": 9}
    pixels = [[(row * column) % 16 for column in range(28)] for row in range(28)]
    scores = {"class": example % 10, "loss_nats": 0.01, "margin": margin, "error": margin < 0}
    return {"example": example, **scores, **costs, "shades": 16, "pixels": pixels}


def finish_digits(outputs: Path) -> Path:
    """An ODE-Net that the probe difficulty has measured; returns the probe's file of digits."""
    run = place(outputs, result("table1_odenet", 0, test={}))
    (run / "probes").mkdir()
    facts = {"facts": {"tolerance": 1e-3}, "rows": []}
    (run / "probes" / "difficulty.json").write_text(json.dumps(facts))
    file = run / "probes" / "difficulty_digits.json"
    file.write_text(json.dumps([digit(5, 26, -1.5), digit(3, 14, 6.0), digit(8, 20, 2.5)]))
    return file


@pytest.fixture
def outputs(tmp_path: Path, latent_file: bytes, flow_file: bytes) -> Path:
    """Runs for all panels."""
    finish(tmp_path, "latent_3d", latent_file)
    for name in FLOWS:
        finish(tmp_path, name, flow_file)
    finish_digits(tmp_path)
    return tmp_path


def test_the_page_is_one_balanced_file_that_the_report_links(outputs: Path) -> None:
    folder = made(outputs)
    text = (folder / "explore.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert "http://" not in text and "https://" not in text
    assert not [attrs for attrs in page.all("script", "img") if "src" in attrs]
    ids = [attrs["id"] for _, attrs in page.seen if "id" in attrs]
    assert len(set(ids)) == len(ids) and {"latent", "flow", "inversion", "digits"} <= set(ids)
    assert all(label["for"] in ids for label in page.all("label"))
    assert all(canvas["aria-label"] for canvas in page.all("canvas"))
    for file in ("index.html", "report.md"):
        assert "explore.html" in (folder / file).read_text(encoding="utf-8")


def test_every_id_in_the_scripts_is_on_the_page(outputs: Path) -> None:
    text = (made(outputs) / "explore.html").read_text(encoding="utf-8")
    ids = {attrs["id"] for _, attrs in Page(text).seen if "id" in attrs}
    used = {part.partition('"')[0] for part in text.split('element("')[1:]}
    assert used and used <= ids


@pytest.mark.parametrize("name", ["latent_3d", "fig5_moons_cnf", "table1_odenet"])
def test_a_panel_without_its_run_is_left_out(outputs: Path, name: str) -> None:
    shutil.rmtree(outputs / name)
    text = (made(outputs) / "explore.html").read_text(encoding="utf-8")
    assert ('id="latent"' in text) is (name != "latent_3d")
    assert ("two moons" in text) is (name != "fig5_moons_cnf")
    assert ('id="digits"' in text) is (name != "table1_odenet")
    assert "two circles" in text


def test_digits_are_in_the_order_of_their_evaluations(outputs: Path) -> None:
    text = (made(outputs) / "explore.html").read_text(encoding="utf-8")
    content = text.partition('id="data">')[2].partition("</script>")[0]
    digits = json.loads(content)["digits"]
    shown = [
        (one["example"], one["forward"], one["backward"], one["error"]) for one in digits["list"]
    ]
    assert shown == [(3, 14, 28, False), (8, 20, 40, False), (5, 26, 52, True)]
    assert digits["solver"] == "dopri5" and digits["tolerance"] == "10⁻³"


def test_without_runs_there_is_no_page_and_a_former_one_is_removed(outputs: Path) -> None:
    folder = made(outputs)
    assert (folder / "explore.html").is_file()
    for file in (*outputs.rglob("explore.npz"), *outputs.rglob("difficulty_digits.json")):
        file.write_bytes(file.read_bytes()[:100])
    assert "explore.html" not in (made(outputs) / "index.html").read_text(encoding="utf-8")
    assert not (folder / "explore.html").exists()


def test_what_a_run_says_cannot_break_out_of_the_page(outputs: Path) -> None:
    for file in outputs.rglob("environment.json"):
        content = json.loads(file.read_text())
        content["git"]["sha"] = "</script"
        file.write_text(json.dumps(content))
    text = (made(outputs) / "explore.html").read_text(encoding="utf-8")
    assert Page(text).open == [] and text.count("</script") == 2


def in_node(expression: str, arrays: Arrays, **values: object) -> Any:  # noqa: ANN401
    """The value of an expression over the functions of maths.js, the weights `w` and values."""
    if NODE is None:
        pytest.skip("node is not installed")
    stored = {name: encode(array) for name, array in arrays.items()}
    code = f"""
        const maths = require({json.dumps(str(MATHS))});
        const given = JSON.parse(require("fs").readFileSync(0));
        const w = maths.decodeArrays(given.stored);
        const value = ((maths, w, {{{", ".join(values)}}}) => {expression})(maths, w, given.values);
        const plain = (_, one) => (ArrayBuffer.isView(one) ? Array.from(one) : one);
        console.log(JSON.stringify(value, plain));
    """
    text = json.dumps({"stored": stored, "values": values})
    done = subprocess.run([NODE, "-e", code], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def assert_close(values: list[Any], expected: Tensor, atol: float) -> None:
    got = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(got, expected.double(), rtol=0, atol=atol)


def test_the_latent_field_the_decoder_and_the_path_are_those_of_python(
    latent: LatentODE, latent_file: bytes
) -> None:
    arrays = read(latent_file)
    z = [0.3, -1.2, 0.7]
    point, ts = torch.tensor(z), torch.from_numpy(arrays["ts"])
    assert_close(
        in_node("maths.latentField(w, z)", arrays, z=z), latent.block.f(ts[0], point), 1e-6
    )
    assert_close(in_node("maths.decodeLatent(w, z)", arrays, z=z), latent.decode(point), 1e-6)
    curve = "maths.rk4Path((y) => maths.latentField(w, y), z, w.ts)"
    path = latent.double().path(point.double(), ts.double())
    assert float((path[-1] - path[0]).norm()) > 0.1
    assert_close(in_node(curve, arrays, z=z), path, 1e-4)
    decoded = in_node(f"{curve}.map((y) => maths.decodeLatent(w, y))", arrays, z=z)
    assert_close(decoded, latent.decode(path), 1e-4)
    latent.float()


def test_turns_are_counted_with_their_direction() -> None:
    angle = np.linspace(0, -2 * np.pi * 1.25, 60)
    curve = np.stack((np.cos(angle), np.sin(angle)), 1).tolist()
    assert in_node("maths.turns(curve)", {}, curve=curve) == pytest.approx(-1.25)


@pytest.fixture
def exact(flow: PlanarCNF) -> Iterator[PlanarCNF]:
    """The flow in float64, as JavaScript computes."""
    yield flow.double()
    flow.float()
    flow.solver = SOLVE["solver"]


def test_the_field_and_the_samples_of_a_flow_are_those_of_python(
    exact: PlanarCNF, flow_file: bytes
) -> None:
    arrays = read(flow_file)
    base = torch.from_numpy(arrays["base"]).double()
    y = torch.cat((base.T, torch.zeros(1, len(base)).double()))
    t = torch.tensor(1.3, dtype=torch.float64)
    rate = in_node("maths.planarField(w)(1.3, maths.flowState(w.base))", arrays)
    assert_close(rate, exact.dynamics.bind(y, None)(t, y).flatten(), 1e-9)
    solve = "maths.dopri5(maths.planarField(w), maths.flowState(w.base), 0, w.end[0], 1e-6).y"
    samples, log_density = exact.sample(base)
    moved = np.reshape(in_node(solve, arrays), (3, -1))
    assert_close(moved[:2].T.tolist(), samples, 1e-4)
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(base).sum(1)
    assert_close(moved[2].tolist(), log_density - normal, 1e-4)


@pytest.mark.parametrize("tolerance", [1e-1, 1e-3, 1e-6])
def test_inversion_takes_the_steps_of_python(
    exact: PlanarCNF, flow_file: bytes, tolerance: float
) -> None:
    arrays = read(flow_file)
    x = torch.from_numpy(arrays["points"]).double()
    exact.solver = exact.solver.with_tolerance(tolerance, tolerance)
    z = exact.encode(x)
    evaluations = [exact.stats.nfe]
    distance = (exact.sample(z).x - x).norm(dim=1)
    evaluations.append(exact.stats.nfe)
    found = in_node("maths.invert(w, w.points, w.end[0], tolerance)", arrays, tolerance=tolerance)
    assert found["evaluations"] == evaluations
    assert found["rms"] == pytest.approx(float(distance.square().mean().sqrt()), rel=1e-3)
    assert found["largest"] == pytest.approx(float(distance.max()), rel=1e-3)
    assert_close(np.reshape(found["base"], (3, -1))[:2].T.tolist(), z, 1e-9)


BEFORE = """<script>
const problems = [];
addEventListener("error", (event) => problems.push(event.message));
addEventListener("securitypolicyviolation", (event) => problems.push(event.violatedDirective));
console.error = console.warn = (...words) => problems.push(words.join(" "));
</script>"""
AFTER = """<script>
setTimeout(() => {
  const input = (id, value) => {
    element(id).value = value;
    element(id).dispatchEvent(new Event("input"));
  };
  const text = (id) => element(id).textContent;
  const before = text("latent-text");
  const key = new KeyboardEvent("keydown", { key: "ArrowRight" });
  element("latent-space").dispatchEvent(key);
  const moved = text("latent-text") !== before;
  const drag = (fromX, fromY) => {
    const canvas = element("latent-space");
    const box = canvas.getBoundingClientRect();
    canvas.setPointerCapture = () => {}; // a made-up pointer cannot be captured
    const send = (type, x, y) => {
      const place = { clientX: box.left + x, clientY: box.top + y, pointerId: 1 };
      canvas.dispatchEvent(new PointerEvent(type, place));
    };
    send("pointerdown", fromX, fromY);
    send("pointermove", fromX + 20, fromY);
    send("pointerup", fromX + 20, fromY);
    return [text("latent-azimuth-value"), text("latent-text")];
  };
  const turned = drag(3, 3);
  for (const slider of ["latent-z1", "latent-z2", "latent-z3"]) {
    input(slider, (Number(element(slider).min) + Number(element(slider).max)) / 2);
  }
  const middle = element("latent-space").clientWidth / 2; // where the point is now
  const centred = text("latent-text");
  const dragged = drag(middle, middle);
  input("latent-series", 2);
  input("flow-time", 0);
  input("inversion-tolerance", 5);
  input("digits-choice", 2);
  const second = text("digits-text");
  const grid = element("digits-grid").getBoundingClientRect();
  const corner = { clientX: grid.left + 3, clientY: grid.top + 3 };
  element("digits-grid").dispatchEvent(new MouseEvent("click", corner));
  const digits = [second, text("digits-text")];
  const colours = {};
  for (const canvas of document.querySelectorAll("canvas")) {
    const { width, height } = canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    colours[canvas.id] = new Set(new Uint32Array(data.buffer)).size;
  }
  const cells = [...document.querySelectorAll("tbody td")].map((cell) => cell.textContent);
  const wide = document.documentElement.scrollWidth > innerWidth;
  const current = text("inversion-text");
  const shown = { problems, moved, turned, centred, dragged, colours, cells, wide, current };
  shown.digits = digits;
  document.body.innerHTML = "";
  document.title = JSON.stringify(shown);
}, 3000);
</script>"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 360])
def test_a_browser_draws_every_panel_without_an_error(outputs: Path, width: int) -> None:
    if BROWSER is None:
        pytest.skip("chromium is not installed")
    file = made(outputs) / "explore.html"
    text = file.read_text(encoding="utf-8")
    checked = file.with_name("checked.html")
    text = text.replace("<title>", BEFORE + "<title>").replace("</body>", AFTER + "</body>")
    checked.write_text(text, encoding="utf-8")
    words = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    words += [f"--window-size={width},900", "--virtual-time-budget=10000", "--dump-dom"]
    done = subprocess.run([*words, checked.as_uri()], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    title = done.stdout.partition("<title>")[2].partition("</title>")[0]
    shown = json.loads(title.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert shown["problems"] == []
    assert shown["moved"]
    assert shown["turned"][0] == shown["dragged"][0] == "25°"  # the second drag moves the point
    assert shown["dragged"][1].startswith("z(0) = (") and shown["dragged"][1] != shown["centred"]
    assert not shown["wide"], "the page is wider than the window"
    names = {"latent-space", "latent-curve", "flow-density", "flow-samples"}
    names |= {"inversion-base", "inversion-data", "digits-grid", "digits-scatter"}
    assert set(shown["colours"]) == names
    assert min(shown["colours"].values()) > 10
    assert all(cell not in ("", "…") for cell in shown["cells"])
    assert shown["current"].startswith("Tolerance 10⁻⁶")
    assert shown["digits"][0].startswith("Test digit 8, a 8: 20 evaluations forward, 40 backward")
    assert shown["digits"][1].startswith("Test digit 3, a 3: 14 evaluations forward")
