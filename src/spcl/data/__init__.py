"""From files to batches: sources of images, tables, data sets, image decoding, augmentation, sampling."""
