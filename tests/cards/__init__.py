"""The card half: purses, programs, charges, and the strict stand-in they are tried against."""
