"""The version of ganforge and of the contract with its plugins."""

__version__ = "0.1.0"

API_VERSION = 1
"""Of the contract. It grows by one when something that a plugin may rely on is taken away or changes its meaning; what
is only added leaves it as it is. A plugin may say which one it was written for, by ``GANFORGE_API = 1``."""
