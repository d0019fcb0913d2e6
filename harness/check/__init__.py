"""`oneclock check`: whether one method keeps the contract of its part and passes the rules of every run.

A list of checks runs on one method, in this process and without Ray. Each gives an outcome: what was found, what was
expected, and where it failed, what to do.
"""
