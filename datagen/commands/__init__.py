"""The commands, a function each: they parse, call and print. No logic, and nothing heavy until one runs.

``datagen.cli`` has the table of their names.
"""
