"""The report's own drawings: one style, as SVG and PNG; equal numbers make equal bytes."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666", "#8C6D31")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
PAPER = "#999999"
PIXELS = 1100  # across, of a run's picture
COLOURS_KEPT = 128

STYLE: Any = {
    "font.family": "serif",
    "font.serif": ["STIXGeneral", "DejaVu Serif"],
    "mathtext.fontset": "stix",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "node-repro",
}


@contextmanager
def journal(columns: int, rows: int = 1, **size: float) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure of panels, drawn and saved inside of the block in the report's style.

    size: `width` and `height` of a panel in inches.
    """
    with matplotlib.rc_context(STYLE):
        inches = (size.get("width", 3.6) * columns, size.get("height", 2.7) * rows)
        figure = Figure(figsize=inches, layout="constrained")
        yield figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def styled(draw: Callable[[], Figure]) -> dict[str, bytes]:
    """What a function draws, in the report's style."""
    with matplotlib.rc_context(STYLE):
        return files(draw())


def files(figure: Figure, *, vector: bool = True) -> dict[str, bytes]:
    """The figure as PNG, and as SVG unless it is made of pixels; without dates."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    saved = {"png": small(buffer.getvalue(), pixels=2 * PIXELS)}
    if vector:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        saved["svg"] = buffer.getvalue()
    return saved


def picture(path: Path) -> dict[str, bytes]:
    """A run's own picture, in fewer colours and pixels; a GIF as it is. Raises ValueError where the
    file is of another format, and whatever PIL raises where it is damaged.
    """
    content = path.read_bytes()
    if path.suffix == ".gif":
        with Image.open(io.BytesIO(content)) as image:
            if image.format != "GIF" or not content.endswith(b";"):
                raise ValueError(f"{path} is no whole GIF")
            image.seek(image.n_frames - 1)  # pyright: ignore[reportAttributeAccessIssue]
            image.load()
        return {"gif": content}
    return {"png": small(content, pixels=PIXELS)}


def small(content: bytes, pixels: int) -> bytes:
    """A PNG at most so wide, with a palette; as it was where that would be no smaller."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    if image.width > pixels:
        size = (pixels, round(image.height * pixels / image.width))
        image = image.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    palette = image.quantize(
        COLOURS_KEPT, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
    )
    palette.save(buffer, format="PNG", optimize=True)
    return min(buffer.getvalue(), content, key=len) if image.width <= pixels else buffer.getvalue()


def colour(index: int) -> str:
    """The colour of the i-th series."""
    return COLOURS[index % len(COLOURS)]


def marker(index: int) -> str:
    """The marker of the i-th series: colour is not the only difference, nor the same twice."""
    return MARKERS[(index + index // len(COLOURS)) % len(MARKERS)]


def legend_below(figure: Figure, ax: Axes, columns: int) -> None:
    """One legend for all panels, under them."""
    handles, labels = ax.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if unique:
        figure.legend(
            list(unique.values()), list(unique), loc="outside lower center", ncols=columns
        )
