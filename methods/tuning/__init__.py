"""Fine-tuning that several methods share: draws of noise levels, losses, how long and how fast."""
