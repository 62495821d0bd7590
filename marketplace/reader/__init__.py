"""A reader's library, balance, cards, API keys and approvals. Every view shows only the requester's own."""
