"""Results of evaluations: rows, their comparability and their text."""
