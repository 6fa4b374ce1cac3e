"""Scenes: the small world that the pocket model knows. Pure: no torch, no files."""
