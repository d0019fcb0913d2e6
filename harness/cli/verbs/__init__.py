"""The verbs: one function each, without logic. Each shows an example with `--help`."""
