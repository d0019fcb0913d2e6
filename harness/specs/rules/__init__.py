"""The rules of a measurement: how often, how long, over how many; a file a kind, each rule with unit and reason.

They decide what is measured, so a file here is part of the identities of the results whose tasks import it, unlike
the limits of time in `harness.specs.limits`. Level and groups of intervals stand with their formulas in
`harness.stats`. What really ran is in the row: `timing_rounds`, `timing_block_seconds`, `warm_up_calls`.
"""
