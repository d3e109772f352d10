"""Commands for people: set up, simulate, test."""
