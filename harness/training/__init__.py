"""Training through DeepSpeed: batches, learning-rate schedules, and one rank's trainer."""
