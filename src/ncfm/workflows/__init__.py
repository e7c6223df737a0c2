"""The public functions behind the commands, and the stages they share."""
