"""What a plan will cost: seconds of each task, and the wall time of the whole, before anything runs."""
