"""Subjects of evaluations: runs, exported files and sets of images."""
