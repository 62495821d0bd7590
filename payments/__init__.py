"""The money: claims, settlement and the books. This package knows no article and imports neither other package."""
