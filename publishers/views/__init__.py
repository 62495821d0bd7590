"""The studio, where publishers write, set prices and see their sales. Members only; no money moves here."""
