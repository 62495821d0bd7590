"""Accounts of people: readers, publishers and staff alike. Other modules refer to them by settings.AUTH_USER_MODEL."""
