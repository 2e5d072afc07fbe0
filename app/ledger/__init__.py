"""The ledger: every statement on runs and moves. The broker's messages are hints, this is the truth (S6)."""
