"""Configuration: its schema, its sources, and TOML with comments."""
