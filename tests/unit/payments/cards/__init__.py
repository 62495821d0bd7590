"""The card half: purses, agents, charges, and the strict stand-in they are tried against."""
