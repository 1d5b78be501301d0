"""Data loading: the order of examples, and their transfer to the device."""
