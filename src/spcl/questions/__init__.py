"""Questions about pairs of images whose answers change groups the most."""
