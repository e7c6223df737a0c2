"""The synthetic set: images, initialisation, decoding of mosaics, soft labels, and storage."""
