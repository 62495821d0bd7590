"""The sellers: publications, articles, versions, prices, and the pages on which they manage them."""
