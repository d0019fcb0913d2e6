"""What runs a plan: starts tasks, keeps what they return, commits rows. It imports no task and asks no kind."""
