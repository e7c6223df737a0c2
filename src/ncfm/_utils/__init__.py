"""Helpers of every room: checks, devices, files, locks, ranks, seeds, types, progress."""
