"""Score clips with all scorers, the cheapest first; a clip that fails a rule skips the remaining scorers."""
