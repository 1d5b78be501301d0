"""The version of ganforge and of the contract with its plugins."""

__version__ = "0.1.0"
