"""Write one section of a report as a page of its own, with the figures that it shows.

    python scripts/section_page.py outputs/report physics docs/results/physics.md

The figures are copied into a folder beside the page, of the page's name.
"""

import re
import shutil
import sys
from pathlib import Path

from node_repro.report.section import find_sections


def section_page(report: Path, name: str, page: Path) -> None:
    """Write the section `name` of report.md to `page`. Raises SystemExit if there is none."""
    titles = [section.title for section in find_sections() if section.name == name]
    text = (report / "report.md").read_text(encoding="utf-8")
    parts = [p for p in re.split(r"^## ", text, flags=re.M) if p.partition("\n")[0] in titles]
    if not parts:
        raise SystemExit(f"{report}/report.md has no section {name}: run its experiments first")
    folder = page.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    for figure in re.findall(r"\(figures/([^)]+)\)", parts[0]):
        shutil.copyfile(report / "figures" / figure, folder / figure)
    page.write_text(f"# {parts[0].strip()}\n".replace("(figures/", f"({folder.name}/"), "utf-8")


if __name__ == "__main__":
    section_page(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
