"""Supervised training: one loop for teachers, experts and evaluation networks."""
