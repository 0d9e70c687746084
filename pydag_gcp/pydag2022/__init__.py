"""Definitions and SQL scripts of the 2022 pyDag, https://github.com/Wittline/pyDag, run as they are.

``definition`` makes a DAG of the JSON, ``params`` reads the dicts that are written as text in it. ``script`` fills the
``{name}`` placeholders of its SQL, each by its place, which ``places`` finds; ``columns`` writes what stands for names.
"""
