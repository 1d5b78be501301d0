"""Exceptions of parts in mid-run; see `ganforge.blame`."""

from ganforge.blame import blaming as blaming
