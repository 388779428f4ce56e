"""Expression features of driving videos: face alignment and the PD-FGC encoder, one feature per frame and person."""
