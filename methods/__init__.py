"""Methods that accelerate diffusion sampling: one file, one class each, sorted by the part they replace."""
