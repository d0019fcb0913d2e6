"""The known-answer check: instruments are compared with theory before a run measures anything."""
