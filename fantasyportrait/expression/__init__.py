"""From a driving video to what a face expresses: aligned crops, the PD-FGC encoder, one feature a frame and person."""
