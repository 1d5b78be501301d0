"""Execution of a step: precision, memory format, CUDA graphs, microbatches and autotuning."""
