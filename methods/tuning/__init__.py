"""Fine-tuning that several methods share: draws of noise levels, losses, the loop."""
