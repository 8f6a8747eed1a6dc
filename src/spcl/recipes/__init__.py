"""Recipes: TOML files of settings that belong together."""
