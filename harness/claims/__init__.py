"""Published figures: the ledger of them, the suite that measures one here, and the verdict."""
