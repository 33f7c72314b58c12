"""Recipes in TOML, their registry, and the trainings made of them."""
