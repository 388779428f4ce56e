"""Model files: what they are, what their tensors are called, and from one layout to another."""
