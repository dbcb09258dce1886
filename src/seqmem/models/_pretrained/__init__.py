"""Published language models: one file for each layout of parameters, and what reads them."""
