"""Utilities without GANs: files, JSON, images, memory, distributed training, the console."""
