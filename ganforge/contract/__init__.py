"""The contract with plugins: all that an author implements. Import these names from `ganforge`.

A class's keyword-only constructor arguments are its options: their names, annotations and defaults are what
``--set generator.width=96``, a TOML file and ``ganforge plugins info`` show. Sizes that the data dictate are passed
apart from them, as a `DataSpec`.
"""
