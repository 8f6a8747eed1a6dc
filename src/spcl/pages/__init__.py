"""Pages: one HTML file about runs, groups, galleries and encoders. Gatherers collect, templates show."""
