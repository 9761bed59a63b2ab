"""TensorFlow checkpoints, saved models and graphs."""
