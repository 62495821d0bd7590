"""The money: claims, settlement and the books. Knows no article and imports neither other package."""
