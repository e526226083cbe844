"""The report's figures and their files. Equal numbers give equal files."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageSequence

from node_repro.figures import png
from node_repro.figures.style import STYLE, in_style

PAPER = "#999999"  # colour of the paper's values
PIXELS = 2200  # maximal width of a PNG
FEW_COLOURS = 6_000
LARGEST = 300_000


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


@in_style
def styled(draw: Callable[[], Figure]) -> dict[str, bytes]:
    """The files of the figure that `draw` returns, in the report's style."""
    return files(draw())


def files(figure: Figure, *, vector: bool = True) -> dict[str, bytes]:
    """The figure as PNG and, with `vector`, as SVG, by file extension."""
    saved = {"png": small(png(figure))}
    if vector:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        saved["svg"] = buffer.getvalue()
    return saved


def picture(path: Path) -> dict[str, bytes]:
    """A picture of a run by file extension: a smaller PNG (see `small`), a GIF unchanged.

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
    return {"png": small(content)}


def small(content: bytes) -> bytes:
    """A PNG of at most PIXELS in width, unchanged if it would not become smaller.

    Drawings of few colours get a palette. Density maps have many, and keep them in files of at most
    LARGEST bytes, so that colours do not change in steps.
    """
    image = Image.open(io.BytesIO(content)).convert("RGB")
    fits = image.width <= PIXELS
    if not fits:
        size = (PIXELS, round(image.height * PIXELS / image.width))
        image = image.resize(size, Image.Resampling.LANCZOS)
    saved = _saved(image)
    if len(saved) > LARGEST or image.getcolors(FEW_COLOURS) is not None:
        saved = _saved(image.quantize(256, kmeans=1))
    return min(saved, content, key=len) if fits else saved


def _saved(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def legend_below(figure: Figure, columns: int) -> None:
    """Add one legend for all panels below them."""
    unique = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            unique.setdefault(label, handle)
    if unique:
        figure.legend(
            list(unique.values()), list(unique), loc="outside lower center", ncols=columns
        )
