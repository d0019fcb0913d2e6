"""`python -m harness` runs the command `oneclock`."""

from harness.cli import main

main()
