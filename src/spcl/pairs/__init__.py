"""What is known of pairs of images: one object or two. Tracks, tables of pairs, and clusters that respect them."""
