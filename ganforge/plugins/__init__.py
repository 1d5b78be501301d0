"""Plugins: discovery, the registry of parts, their options, and scaffolds of new packages."""
