"""What an iteration costs, in time and memory: `make bench`."""
