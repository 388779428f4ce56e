"""A small drawn benchmark: animated faces with exactly known landmarks, gaze, head pose and expression.

`animation` generates the motion of a person, `head` turns it into landmarks, `cast` defines the appearance of people,
`scene` renders frames and tracks, `damage` applies known errors, `toy_networks` replaces Inception and I3D.
"""
