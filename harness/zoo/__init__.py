"""The zoo: networks that were trained once, until held-out loss stood still, and are committed with a card."""
