"""One file a kind of task: what goes in (Spec), what comes out (Output), how it is kept and run (Policy).

Nothing here computes: identities hold the values, not this code.
"""
