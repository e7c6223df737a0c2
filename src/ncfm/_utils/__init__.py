"""Helpers for all modules: checks, devices, files, cache, locks, ranks, seeds, types, progress."""
