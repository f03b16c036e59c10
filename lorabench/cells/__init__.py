"""One cell of the grid, from its config to its record."""
