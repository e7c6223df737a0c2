"""Results: rows and their files, formatting, plots, published numbers."""
