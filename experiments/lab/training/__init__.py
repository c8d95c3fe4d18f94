"""Training: the loop, its compiled parts, devices, checkpoints, and the jobs of a command."""
