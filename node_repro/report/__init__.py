"""The report: finished runs compared with the paper's tables, figures and claims.

Each file in `sections/` turns the runs into claims, tables and drawings of one part of the paper;
`render` and `tables` write them as HTML, Markdown, LaTeX and CSV. Only files are read and nothing
is trained, so torch is not needed. `rules` decides the verdicts.
"""
