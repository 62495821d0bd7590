"""The double-entry books: the ledger, their only writer, and the reports that read them. The books know no rail."""
