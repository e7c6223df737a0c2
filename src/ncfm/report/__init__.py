"""What people and programs read afterwards: pictures, result rows, tables."""

from ncfm.report.figures import image_grid, save_image_grid
from ncfm.report.results import append_rows, latest, methods_table, networks_table, read_rows, results_table
from ncfm.report.rows import AccuracyRow, CostRow

__all__ = [
    "AccuracyRow",
    "CostRow",
    "append_rows",
    "image_grid",
    "latest",
    "methods_table",
    "networks_table",
    "read_rows",
    "results_table",
    "save_image_grid",
]
