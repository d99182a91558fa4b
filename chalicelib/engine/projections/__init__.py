"""What is derived from the ledger's change stream, and how it is read."""
