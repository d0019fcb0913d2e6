"""`python -m harness` is the command `oneclock`."""

from harness.cli import main

main()
