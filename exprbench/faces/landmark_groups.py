"""Groups of points in MediaPipe's face mesh: indices into the 478 landmarks of a `FaceTrack`."""

Points = slice | tuple[int, ...]

ALL = slice(None)
MESH = slice(0, 468)  # the irises follow
LIPS = (
    *(0, 13, 14, 17, 37, 39, 40, 61, 78, 80, 81, 82, 84, 87, 88, 91, 95, 146, 178, 181),
    *(185, 191, 267, 269, 270, 291, 308, 310, 311, 312, 314, 317, 318, 321, 324, 375, 402, 405, 409, 415),
)
EYES = (
    *(7, 33, 133, 144, 145, 153, 154, 155, 157, 158, 159, 160, 161, 163, 173, 246),
    *(249, 263, 362, 373, 374, 380, 381, 382, 384, 385, 386, 387, 388, 390, 398, 466),
)
BROWS = (46, 52, 53, 55, 63, 65, 66, 70, 105, 107, 276, 282, 283, 285, 293, 295, 296, 300, 334, 336)
OUTER_EYE_CORNERS = (33, 263)
EYE_POINTS = ((33, 133, 468), (263, 362, 473))  # outer corner, inner corner, iris centre; right eye, left eye
# corners of the eyes, bridge and tip of the nose, forehead, temples, cheekbones
RIGID = (33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 10, 127, 356, 234, 454)
FIVE_POINTS = (468, 473, 1, 61, 291)  # irises, tip of the nose, corners of the mouth
