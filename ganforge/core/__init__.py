"""Utilities that know no GAN: files, JSON, images, memory, distributed training, the console."""
