"""Benchmarks of a recipe: speed of training and inference, use of the machine, and memory."""
