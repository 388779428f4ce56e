"""Training of the motion adapter and the backbone."""
