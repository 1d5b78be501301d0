"""Built-in parts; each module is a plugin that uses only public names."""
