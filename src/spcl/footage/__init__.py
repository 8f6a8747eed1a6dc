"""From a video and the boxes of a tracker to crops with a table of them."""
