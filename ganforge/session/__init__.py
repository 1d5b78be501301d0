"""Training and runs from Python, without the command line."""
