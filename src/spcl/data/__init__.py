"""From disk to batches: data sets, images, augmentation, sampler."""
