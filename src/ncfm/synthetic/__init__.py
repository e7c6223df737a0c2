"""The distilled dataset: images, formation, initialisation, soft labels."""
