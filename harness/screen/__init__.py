"""What people see of a run: on a terminal, in a pipe, in a notebook, and at its end. It decides nothing."""
