"""Recipes: YAML files, one a weakness. Data, not code; ``datagen.recipe`` reads them."""
