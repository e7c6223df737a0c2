"""What people and programs read afterwards: pictures, result rows, tables."""

from ncfm.report.durations import duration
from ncfm.report.figures import image_grid, save_image_grid
from ncfm.report.results import append_rows, latest, read_rows
from ncfm.report.rows import AccuracyRow, CostRow
from ncfm.report.tables import (
    Ablated,
    ablation_table,
    faults_table,
    fuzz_table,
    gallery_table,
    gap_table,
    machine_of,
    methods_table,
    networks_table,
    plan_table,
    planned_table,
    race_table,
    ranks_table,
    results_table,
    rows_table,
    scaling_table,
    variants_table,
)

__all__ = [
    "Ablated",
    "AccuracyRow",
    "CostRow",
    "ablation_table",
    "append_rows",
    "duration",
    "faults_table",
    "fuzz_table",
    "gallery_table",
    "gap_table",
    "image_grid",
    "latest",
    "machine_of",
    "methods_table",
    "networks_table",
    "plan_table",
    "planned_table",
    "race_table",
    "ranks_table",
    "read_rows",
    "results_table",
    "rows_table",
    "scaling_table",
    "save_image_grid",
    "variants_table",
]
