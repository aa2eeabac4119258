"""Measures the budgets of docs/benchmarks.md on this machine: `make bench`. No test asserts any of these numbers.

    __main__.py    the command: what is measured, the table, latest.json
    figures.py     a measured figure with its budget and the machine's limit
    graphs.py      the graphs, as plan files
    project.py     a project in a temporary folder, and what is done in it
    bare.py        what the machine itself can do: SQLite without an engine
    measuring.py   one function for each figure
    child.py       what needs a process of its own
    rivals.py      other engines on the same graphs, each in a virtual environment of its own (peers/)
    page.py        docs/benchmarks.md, between its marks
"""
