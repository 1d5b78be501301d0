"""How good generated examples are, in numbers that say how they came about."""
