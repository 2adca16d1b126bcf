"""TensorRT: engines compiled ahead of time, their cache and passports, and the CUDA pipeline that runs them.

The only part of ``perception`` that loads TensorRT or CUDA, and only when something is built, opened or asked for.
"""
