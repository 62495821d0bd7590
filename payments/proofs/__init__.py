"""Proofs that open an article without a payment: a signed receipt or a wallet's signature. No money moves here."""
