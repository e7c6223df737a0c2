"""The synthetic set, how its images start, how mosaics are decoded, and its soft labels."""
