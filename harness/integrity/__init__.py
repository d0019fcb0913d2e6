"""Who judges is out of reach: notices what a method changed of the code and settings that decide, and restores it.

An audit, no sandbox: a method runs in the process that measures it. See `docs/audits.md` for what that leaves open.
"""
