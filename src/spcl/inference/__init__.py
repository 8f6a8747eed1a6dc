"""Checkpoints in and out, the encoder that a user holds, features of images, and the evaluation of an encoder."""
