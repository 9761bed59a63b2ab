"""The room where frameworks are met: each is imported here, when it is first needed, and nowhere else."""
