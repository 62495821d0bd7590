"""The studio: the pages on which publishers write, price and see what they sold. Members only; no money moves here."""
