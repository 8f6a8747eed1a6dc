"""One training run from a recipe to its folder: images, parts, checks before work is lost, files, resuming."""
