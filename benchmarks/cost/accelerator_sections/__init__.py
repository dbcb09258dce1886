"""The sections of benchmarks.cost.accelerator, one file and one process each."""
