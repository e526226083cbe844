"""`make bench`: the speed of this project beside its peers, and the goals of docs/performance.md.

Every subject is a module with a function `measured`; subjects.py lists them. A contender runs in a
process of its own (interleaved.py), peers in environments of their own (peers.py). goals.py judges
the records by the goals, and page.py and plots.py make the page from them.
"""
