"""What the commands do, as public functions, and the stages that they share."""
