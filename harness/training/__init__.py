"""Training through DeepSpeed: what is trained and how, one rank of it, and the verb `train`."""
