"""Groups of a user's own images, and settings that fit them: programs without labels and without training."""
