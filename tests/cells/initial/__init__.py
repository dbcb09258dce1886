"""How the arrays of each public cell start: one table per kind of cell."""
