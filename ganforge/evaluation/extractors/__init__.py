"""Extractors: networks by whose features sets of images are compared."""
