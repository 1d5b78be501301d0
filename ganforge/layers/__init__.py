"""Layers that networks of any architecture share."""
