"""What a reader has: library, balance, cards, API keys and approvals. Only ever those of whoever asks."""
