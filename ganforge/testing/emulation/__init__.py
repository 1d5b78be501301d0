"""Emulation of CUDA without a GPU: steps on fake tensors, which have a device, a dtype and strides but no values."""
