"""Measurements: each module is a command that prints what the README and the docs quote."""
