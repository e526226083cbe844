"""Tables as LaTeX, for a document that loads booktabs."""

from node_repro.report import Table
from node_repro.report.words import is_text, text, titles

SIGNS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": r"$-$",
    "–": "--",
    "·": r"$\cdot$",
    "θ": r"$\theta$",
    "λ": r"$\lambda$",
    "∫": r"$\int$",
    "∞": r"$\infty$",
    "≤": r"$\le$",
    "≈": r"$\approx$",
    "∂": r"$\partial$",
    "‖": r"$\|$",
    "L̃": r"$\tilde L$",
    "“": "``",
    "”": "''",
    "′": "$'$",
}
SIGNS |= {
    raised: f"$^{{{plain}}}$" for raised, plain in zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", strict=True)
}
SIGNS["⁻"] = "$^{-}$"


def tabular(table: Table) -> str:
    """A table environment with caption and label."""
    sides = "".join("l" if is_text(table, i) or i == 0 else "r" for i in range(len(table.columns)))
    lines = [_line(titles(table.columns)), r"\midrule"]
    for row in table.rows:
        cells = zip(row, table.columns, strict=True)
        lines.append(_line([text(cell, column) for cell, column in cells]))
    body = "\n".join(lines)
    return (
        f"\\begin{{table}}\n\\centering\n\\caption{{{escaped(table.caption)}}}\n"
        f"\\label{{tab:{table.name}}}\n\\begin{{tabular}}{{{sides}}}\n\\toprule\n{body}\n"
        f"\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )


def _line(cells: list[str]) -> str:
    return " & ".join(escaped(cell) for cell in cells) + r" \\"


def escaped(words: str) -> str:
    """Words as LaTeX prints them."""
    words = words.replace("L̃", "\0")
    return "".join(SIGNS.get(sign, sign) for sign in words).replace("\0", SIGNS["L̃"])
