"""From tracks of several cameras to one identity for the tracks of each object."""
