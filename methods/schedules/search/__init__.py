"""What schedules share that are searched or tuned: candidates, teachers, costs of steps."""
