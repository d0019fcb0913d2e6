"""Anybody's sampler as a row: code that a user names, and the parts of a sampler that stand for it."""
