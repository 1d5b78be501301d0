"""The version of ganforge and of the contract with its plugins."""

__version__ = "0.1.0"

API_VERSION = 2
"""Version of the contract with plugins, which a plugin may state as ``GANFORGE_API = 2``.

Version 2 adds hooks to version 1.
"""

OLDEST_API_VERSION = 1
"""Oldest version whose plugins load unchanged."""
