"""The zoo: networks trained until held-out loss stopped falling, committed with a card each."""
