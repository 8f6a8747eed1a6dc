"""A searchable gallery on disk: vectors of images with what is known about them, and the encoder they come from."""
