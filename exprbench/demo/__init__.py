"""A small benchmark drawn by us: animated faces whose landmarks, gaze, head pose and expression are known exactly.

`motion` moves a person, `head` turns the movement into landmarks, `cast` says how people look, `scene` puts them into
frames with their tracks, `damage` makes known errors, `network` stands in for Inception and I3D.
"""
