"""Measures how quickly a recipe trains here, what of the machine that uses, and how much memory it takes."""
