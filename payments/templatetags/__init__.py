"""Template tags that the pages of the shop and of the studio share."""
