"""Rows of numbers: their files, their formatting, their figures, and the published ones to compare with."""
