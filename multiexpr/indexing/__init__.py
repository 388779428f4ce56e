"""List a collection and cut its long videos into clips."""
