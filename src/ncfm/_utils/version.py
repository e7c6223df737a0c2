"""The version, where every file can ask for it without importing the package's front."""

__version__ = "0.1.0"
