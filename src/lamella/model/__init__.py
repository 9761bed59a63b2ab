"""What can be said about models from their tensors alone, without files or history."""
