"""Results: rows in CSV files, formatting of numbers, plots, and published numbers to compare with."""
