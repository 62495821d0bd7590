"""The double-entry books: the ledger that alone writes them, and reports that read them. Nothing here knows a rail."""
