"""Plugins: discovery, loading, registry, options, scaffold."""
