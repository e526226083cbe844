"""The style of the report's figures, and their files. Equal numbers give equal files."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageSequence

PAPER = "#999999"  # colour of the paper's values
PIXELS = 1100  # maximal width of a run's picture
PNG_COLOURS = 128

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
    """A figure of panels in the report's style, to be drawn and saved inside the with block.

    Args:
        columns: Panels side by side.
        rows: Rows of panels.
        size: `width` and `height` of a panel in inches.
    """
    with matplotlib.rc_context(STYLE):
        inches = (size.get("width", 3.6) * columns, size.get("height", 2.7) * rows)
        figure = Figure(figsize=inches, layout="constrained")
        yield figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def styled(draw: Callable[[], Figure]) -> dict[str, bytes]:
    """The files of the figure that `draw` returns, in the report's style."""
    with matplotlib.rc_context(STYLE):
        return files(draw())


def files(figure: Figure, *, vector: bool = True) -> dict[str, bytes]:
    """The figure as PNG and, with `vector`, as SVG, by file extension."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    saved = {"png": small(buffer.getvalue(), pixels=2 * PIXELS)}
    if vector:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        saved["svg"] = buffer.getvalue()
    return saved


def picture(path: Path) -> dict[str, bytes]:
    """A picture of a run by file extension: a PNG with fewer colours and pixels, a GIF unchanged.

    Raises ValueError if a GIF is incomplete or of another format, and PIL's errors if a file is
    damaged.
    """
    content = path.read_bytes()
    if path.suffix == ".gif":
        with Image.open(io.BytesIO(content)) as image:
            if image.format != "GIF" or not content.endswith(b";"):
                raise ValueError(f"{path} is not a complete GIF")
            for frame in ImageSequence.Iterator(image):
                frame.load()
        return {"gif": content}
    return {"png": small(content, pixels=PIXELS)}


def small(content: bytes, pixels: int) -> bytes:
    """A PNG with a palette and at most `pixels` wide; unchanged if that would not be smaller."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    if image.width > pixels:
        size = (pixels, round(image.height * pixels / image.width))
        image = image.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    palette = image.quantize(PNG_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    palette.save(buffer, format="PNG", optimize=True)
    return min(buffer.getvalue(), content, key=len) if image.width <= pixels else buffer.getvalue()


def legend_below(figure: Figure, ax: Axes, columns: int) -> None:
    """Add one legend for all panels below them."""
    handles, labels = ax.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if unique:
        figure.legend(
            list(unique.values()), list(unique), loc="outside lower center", ncols=columns
        )
