"""Networks that scorers share."""
