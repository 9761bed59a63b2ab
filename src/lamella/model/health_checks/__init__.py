"""The checks of a model's health, each a function from a patient to its findings."""
