"""datagen: find where a text-to-image model is weak, write the data that fixes it, post-train on it.

Imports nothing, so that ``datagen --help`` is instant.
"""

__version__ = "0.1.0"
