"""The code of `dev.py`, which sets up and runs the project. No part of the product imports it.

What runs outside the project's environment uses the standard library only.
"""
