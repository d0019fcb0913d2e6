"""Every rule of a run has its own sentence on what to do."""

from __future__ import annotations

from harness.check.remedies import OTHERWISE, REMEDIES, find_remedy
from harness.rows.rules import RULES, rule_name

OF_SUITES = {"baseline-out-of-band", "known-answer"}
"""Rules about figures that a suite states, which the suites of a check do not."""


def test_every_rule_that_a_method_can_break_has_a_remedy_and_no_other_is_named() -> None:
    names = {rule_name(rule) for rule in RULES}
    assert names - OF_SUITES == set(REMEDIES) - {"tampered"}


def test_an_unknown_rule_is_one_of_the_documents() -> None:
    assert find_remedy("of-tomorrow") == OTHERWISE
