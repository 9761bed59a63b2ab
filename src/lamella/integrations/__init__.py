"""The room where frameworks are met: each is imported in one module here, when it is first needed, and nowhere else."""
