"""Groups of a folder of images, settings that fit it, and the quality of groups without labels."""
