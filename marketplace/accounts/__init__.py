"""Accounts of people: readers, publishers and staff alike. Other rooms name them by settings.AUTH_USER_MODEL."""
