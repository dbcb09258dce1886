"""The mutation score: how many small faults in the source the quick tests catch."""
