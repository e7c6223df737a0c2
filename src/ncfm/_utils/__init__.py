"""Shared helpers: checks, devices, files, locks, processes, seeds, types, progress."""
