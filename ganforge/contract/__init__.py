"""Interfaces that plugins implement; import these names from `ganforge`.

Keyword-only constructor arguments of a class are its options: ``--set generator.width=96``, a TOML file and
``ganforge plugins info`` show their names, annotations and defaults. Sizes of the data are passed as a `DataSpec`.
"""
