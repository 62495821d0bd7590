"""The shop: what a visitor, a reader and an agent see. Imports publishers and payments; nothing imports it."""
