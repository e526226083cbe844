"""Write docs/article.md from scripts/article.md.jinja and the tables in docs/results.

    python scripts/article.py            # write the page
    python scripts/article.py --check    # fail if the page is not that of the tables

The template looks numbers up by table, row and column, so that none is typed in by hand.
"""

import csv
import sys
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "docs" / "results", ROOT / "docs" / "article.md"
TEMPLATE = "article.md.jinja"

Row = Mapping[str, str]


def find_row(folder: str, table: str, *, nth: int = 0, **columns: str) -> Row:
    """The nth row of docs/results/<folder>/tables/<table>.csv with these values.

    Args:
        folder: "reference".
        table: "table2".
        nth: Which of several rows.
        columns: The name of a column, with _ for a space, and its value; `first` is the first one.
    """
    with (RESULTS / folder / "tables" / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    first = next(iter(rows[0]))
    wanted = {first if k == "first" else k.replace("_", " "): v for k, v in columns.items()}
    found = [row for row in rows if all(row[key] == str(v) for key, v in wanted.items())]
    if len(found) <= nth:
        raise LookupError(f"{folder}/{table}.csv has no row {nth} with {wanted}")
    return found[nth]


def number(row: Row, column: str, digits: int = 3, scale: float = 1.0) -> str:
    """A number of a row, with its standard deviation and number of seeds if it has them."""
    value = f"{scale * float(row[column]):,.{digits}f}"
    spread, seeds = row.get(f"{column}, sd"), row.get(f"{column}, n")
    if spread:
        return f"{value} ± {scale * float(spread):,.{digits}f} (n = {seeds})".replace("-", "−")
    return (f"{value} (n = {seeds})" if seeds else value).replace("-", "−")


def hours(folder: str) -> float:
    """The hours that the trainings of docs/results/<folder> took together."""
    with (RESULTS / folder / "tables" / "runs.csv").open(encoding="utf-8", newline="") as file:
        return sum(float(row["training, s"] or 0) for row in csv.DictReader(file)) / 3600


def render() -> str:
    """The page."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals |= {"row": find_row, "hours": hours}
    environment.filters["number"] = number
    return environment.get_template(TEMPLATE).render()


def main() -> None:
    """See the module's docstring."""
    page = render()
    if "--check" in sys.argv:
        if PAGE.read_text(encoding="utf-8") != page:
            raise SystemExit("docs/article.md is not that of the tables: python scripts/article.py")
        return
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
