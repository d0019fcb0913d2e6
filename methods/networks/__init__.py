"""Network architectures and their preconditioning."""
