"""Track every person through a video: landmarks where faces are expected, and a periodic search of the whole frame."""

from collections import deque
from dataclasses import dataclass, field
from math import ceil

import numpy as np

from exprbench.faces.appearance import MAX_RELATIVE_DISTANCE, MAX_SAME_DISTANCE, Appearance, distance
from exprbench.faces.boxes import Box, overlap
from exprbench.faces.landmark_groups import OUTER_EYE_CORNERS
from exprbench.faces.landmarker import CROPS, Face, Landmarker
from exprbench.faces.tracks import FaceTrack, unseen

# A change of these parameters needs a new `video_tracks.TRACKER`, which is part of the tracks' cache key.
SEARCH_EVERY_S = 1.0
SEARCH_EVERY_S_WHEN_LOST = 0.4  # if no known person is visible, or one was lost recently
LOST_FOR_S = 2.0  # time for which a person counts as recently lost
FOLLOW_FOR_S = 1.0  # time for which a lost face is expected where it was lost, in every frame
BRIEF_GAP = 3  # frames without the face over which its motion is extrapolated
MAX_BRIEF_DISTANCE = 0.5  # of appearance, across a brief gap
MIN_SEEN = 5  # frames in which a person must be seen
RECENT_BYTES = 200_000_000  # of frames kept for backward tracking
# With `follow_regions`: frames in which a face is found in one batch, in the region of the face before them, and how
# far it may have moved in it, in sides of the face, for its landmarks to be kept. A face that is turned away more is
# detected in every frame: the regions of faces in profile drift off them.
LOOKAHEAD = 4
MAX_SHIFT = 0.15
MAX_TURN_DEG = 25.0
FORBIDDEN = 1e6  # cost of a pair that cannot match

Square = tuple[np.ndarray, float]  # centre and side in pixels


@dataclass
class _Person:
    colours: np.ndarray  # averaged over time
    usual: Appearance  # in the last frame with usual colours: later ones may be under another exposure, or a dissolve
    faces: dict[int, Face] = field(default_factory=dict)
    ahead: dict[int, Face | None] = field(default_factory=dict)  # found in the region of `around`
    around: Face | None = None

    @property
    def last(self) -> int:
        return max(self.faces)

    def expected(self, t: int, step: int = 1) -> tuple[np.ndarray, float]:
        """Return the expected centre and side at frame t, from the nearest frame before it (after it if step is -1)."""
        near = max(self.faces) if step > 0 else min(self.faces)
        face, before = self.faces[near], self.faces.get(near - step)
        if before is None or abs(t - near) > BRIEF_GAP:
            return face.centre, face.side
        return face.centre + (face.centre - before.centre) * abs(t - near), face.side

    def update_appearance(self, appearance: Appearance) -> None:
        if distance(self.colours, appearance.colours) <= MAX_SAME_DISTANCE:
            self.usual = appearance
        mixed = 0.95 * self.colours + 0.05 * appearance.colours
        self.colours = mixed / np.linalg.norm(mixed)


class FaceTracker:
    """Face tracker: takes frames in order with `update`; `compute` returns one `FaceTrack` per person, left to right.

    Args:
        landmarker: the landmarker of this process.
        fps: frames per second.
        follow_regions: whether to find a face from its landmarks in the previous frame, without the detector, between
            two searches. Landmarkers that cannot (MediaPipe's) detect it in every frame.
    """

    def __init__(self, landmarker: Landmarker, *, fps: float, follow_regions: bool = False) -> None:
        self.landmarker = landmarker
        self.fps = fps
        self.follow_regions = follow_regions and landmarker.follows_regions
        self.people: list[_Person] = []
        self.pending: deque[np.ndarray] = deque()
        self.recent: deque[np.ndarray] = deque()
        self.num_frames = 0
        self.searched = -1
        self.size = (0, 0)

    def update(self, frame: np.ndarray) -> None:
        """Take the next (H, W, 3) uint8 RGB frame."""
        self.pending.append(frame)
        if len(self.pending) >= (LOOKAHEAD if self.follow_regions else 1):
            self._track(self.pending.popleft())

    def _track(self, frame: np.ndarray) -> None:
        t = self.num_frames
        self.size = frame.shape[1], frame.shape[0]
        if self.follow_regions:
            self._follow_regions(frame, t)
        self._follow(frame, t)
        if self._search_due(t, frame.nbytes):
            self._search(frame, t)
            self.searched = t
            self.recent.clear()
        self.recent.append(frame)
        self.num_frames += 1

    def _active(self, t: int) -> list[_Person]:
        return [p for p in self.people if t - p.last <= FOLLOW_FOR_S * self.fps]

    def _search_due(self, t: int, frame_bytes: int) -> bool:
        if self.searched < 0 or len(self.recent) * frame_bytes > RECENT_BYTES:
            return True
        gaps = [t - p.last for p in self.people if p.last < t]
        lost = len(gaps) == len(self.people) or min(gaps, default=FORBIDDEN) <= LOST_FOR_S * self.fps
        return t - self.searched >= self.fps * (SEARCH_EVERY_S_WHEN_LOST if lost else SEARCH_EVERY_S)

    def _follow_regions(self, frame: np.ndarray, t: int) -> None:
        """Find the faces of the previous frame from their landmarks; about once per second the detector checks them."""
        until_check = ceil(self.searched + self.fps * SEARCH_EVERY_S) - t
        if until_check <= 0:
            return
        people = [p for p in self.people if t - 1 in p.faces and _faces_camera(p.faces[t - 1])]
        if moved := [p for p in people if t not in p.ahead or not _is_near(p.faces[t - 1], p.around)]:
            self._look_ahead(moved, t, [frame, *self.pending][:until_check])
        taken: list[Box] = []
        for person in people:
            face = person.ahead[t]
            if face and all(overlap(face.box, box) < 0.5 for box in taken):
                appearance = Appearance(frame, face)
                if _follow_cost(person, t, face, appearance) < FORBIDDEN:
                    self._accept(person, t, face, appearance)
                    taken.append(face.box)

    def _look_ahead(self, people: list[_Person], t: int, frames: list[np.ndarray]) -> None:
        """Find people in the frames from t on, in one batch, in the regions of their faces in frame t - 1."""
        found = iter(self.landmarker.follow([(frame, p.faces[t - 1]) for p in people for frame in frames]))
        for person in people:
            person.around = person.faces[t - 1]
            person.ahead = {t + i: next(found) for i in range(len(frames))}

    def _follow(self, frame: np.ndarray, t: int) -> None:
        """Find each person's face where it is expected, trying the crop sizes in turn."""
        for crop in CROPS:
            people = [p for p in self._active(t) if t not in p.faces]
            taken = [p.faces[t].box for p in self.people if t in p.faces]
            faces = self._faces_in(frame, _squares(people, t, crop), taken)
            appearances = [Appearance(frame, face) for face in faces]
            costs = [[_follow_cost(p, t, *pair) for pair in zip(faces, appearances, strict=True)] for p in people]
            for i, j in _min_cost_pairs(costs):
                self._accept(people[i], t, faces[j], appearances[j])

    def _faces_in(self, frame: np.ndarray, squares: list[Square], taken: list[Box]) -> list[Face]:
        faces: list[Face] = []
        for centre, side in squares:
            for face in self.landmarker.detect(frame, centre, side):
                if all(overlap(face.box, box) < 0.5 for box in [*taken, *(f.box for f in faces)]):
                    faces.append(face)
        return faces

    def _search(self, frame: np.ndarray, t: int) -> None:
        """Find the faces that belong to no tracked person; each is a person who reappears, or a new one."""
        taken = [p.faces[t].box for p in self.people if t in p.faces]
        faces: list[Face] = []
        for box in self.landmarker.search(frame):
            face = self._face_at(frame, box, [*taken, *(f.box for f in faces)])
            faces += [face] if face else []
        appearances = [Appearance(frame, face) for face in faces]
        absent = [p for p in self.people if t not in p.faces]
        costs = [[_reappearance_cost(p, appearance) for appearance in appearances] for p in absent]
        known = {j: absent[i] for i, j in _min_cost_pairs(costs)}
        for j, face in enumerate(faces):
            person = known.get(j) or _Person(appearances[j].colours, appearances[j])
            if j not in known:
                self.people.append(person)
            self._track_backwards(person, t, face)
            self._accept(person, t, face, appearances[j])

    def _face_at(self, frame: np.ndarray, box: Box, taken: list[Box]) -> Face | None:
        """Return the face in a detector's box, None if it is already tracked or the landmarker does not confirm it."""
        if any(overlap(box, other) > 0.3 for other in taken):
            return None
        centre = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
        return self._nearest(frame, centre, max(box[2] - box[0], box[3] - box[1]), taken)

    def _track_backwards(self, person: _Person, t: int, face: Face) -> None:
        """Track a newly found person backwards, up to the previous search."""
        trail = _Person(person.colours, person.usual, {t: face})
        misses = 0
        for s in range(t - 1, t - 1 - len(self.recent), -1):
            if s in person.faces or misses > BRIEF_GAP:
                return
            frame = self.recent[s - t]
            others = [p.faces[s].box for p in self.people if s in p.faces]
            previous = self._previous(frame, trail, s, others)
            misses = 0 if previous else misses + 1
            if previous:
                trail.faces[s] = previous
                self._accept(person, s, previous, Appearance(frame, previous))

    def _previous(self, frame: np.ndarray, trail: _Person, s: int, others: list[Box]) -> Face | None:
        """Return the face of a person in the frame s before those in which it is known."""
        centre, side = trail.expected(s, step=-1)
        if self.follow_regions and s + 1 in trail.faces:
            (face,) = self.landmarker.follow([(frame, trail.faces[s + 1])])
            free = face and all(overlap(face.box, box) < 0.5 for box in others)
            if face and free and _is_plausible(centre, side, face):
                return face
        return self._nearest(frame, centre, side, others)

    def _nearest(self, frame: np.ndarray, centre: np.ndarray, side: float, others: list[Box]) -> Face | None:
        for crop in CROPS:
            faces = [
                f for f in self._faces_in(frame, [(centre, side * crop)], others) if _is_plausible(centre, side, f)
            ]
            if faces:
                return min(faces, key=lambda f: float(np.linalg.norm(f.centre - centre)))
        return None

    def _accept(self, person: _Person, t: int, face: Face, appearance: Appearance) -> None:
        person.faces[t] = face
        person.update_appearance(appearance)

    def _confirmed_people(self) -> list[_Person]:
        min_seen = min(MIN_SEEN, max(1, self.num_frames // 4))
        people = [p for p in self.people if len(p.faces) >= min_seen]
        return sorted(people, key=lambda p: float(p.faces[min(p.faces)].centre[0]))

    def compute(self) -> tuple[FaceTrack, ...]:
        """Return one track per person over the frames taken so far, left to right by where each was first seen."""
        while self.pending:
            self._track(self.pending.popleft())
        people = self._confirmed_people()
        self.landmarker.read_blendshapes([face for person in people for face in person.faces.values()])
        return tuple(face_track(person.faces, self.num_frames, self.size) for person in people)


def _squares(people: list[_Person], t: int, crop: float) -> list[Square]:
    """Return the squares to search: one per person, or one for all people whose squares contain each other's centre."""
    squares: list[Square] = []
    for person in people:
        centre, side = person.expected(t)
        square = centre, side * crop
        while near := next((s for s in squares if _contains(s, square[0]) or _contains(square, s[0])), None):
            squares = [s for s in squares if s is not near]
            square = _enclosing_square(square, near)
        squares.append(square)
    return squares


def _contains(square: Square, point: np.ndarray) -> bool:
    return bool(np.abs(square[0] - point).max() < square[1] / 2)


def _enclosing_square(a: Square, b: Square) -> Square:
    low = np.minimum(a[0] - a[1] / 2, b[0] - b[1] / 2)
    high = np.maximum(a[0] + a[1] / 2, b[0] + b[1] / 2)
    return (low + high) / 2, float((high - low).max())


def _is_plausible(centre: np.ndarray, side: float, face: Face, reach: float = 1.0) -> bool:
    return bool(np.linalg.norm(face.centre - centre) < reach * side and 0.5 < face.side / side < 2)


def _is_near(face: Face, around: Face | None) -> bool:
    """Return whether the region of a face is still nearly that of an earlier one: place, size and rotation."""
    if around is None:
        return False
    eyes = [f.points[OUTER_EYE_CORNERS[1], :2] - f.points[OUTER_EYE_CORNERS[0], :2] for f in (face, around)]
    turn = np.subtract(*(np.arctan2(*vector[::-1]) for vector in eyes))
    shift = np.linalg.norm(face.centre - around.centre) / around.side
    return bool(max(shift, abs(face.side / around.side - 1), abs(np.sin(turn))) < MAX_SHIFT)


def _faces_camera(face: Face) -> bool:
    """Return whether a face is turned away from the camera by less than `MAX_TURN_DEG`."""
    forward = face.pose[:3, 2]
    return bool(forward[2] > np.cos(np.radians(MAX_TURN_DEG)) * np.linalg.norm(forward))


def _follow_cost(person: _Person, t: int, face: Face, appearance: Appearance) -> float:
    """Return the cost of a face as the next one of a person: distance from the expected place, and of appearance.

    If the colours differ, the exposure may have changed: after a brief gap, the relative colours decide.
    """
    centre, side = person.expected(t)
    gap = t - person.last
    if not _is_plausible(centre, side, face, reach=1 + 0.1 * (gap - 1)):
        return FORBIDDEN
    dissimilarity = distance(person.colours, appearance.colours)
    max_distance = MAX_BRIEF_DISTANCE if gap <= BRIEF_GAP else MAX_SAME_DISTANCE
    if dissimilarity > max_distance and gap <= BRIEF_GAP:
        dissimilarity, max_distance = distance(person.usual.relative, appearance.relative), MAX_RELATIVE_DISTANCE
    if dissimilarity > max_distance:
        return FORBIDDEN
    return float(np.linalg.norm(face.centre - centre) / side) + 2 * dissimilarity


def _reappearance_cost(person: _Person, appearance: Appearance) -> float:
    dissimilarity = distance(person.colours, appearance.colours)
    return dissimilarity if dissimilarity < MAX_SAME_DISTANCE else FORBIDDEN


def _min_cost_pairs(costs: list[list[float]]) -> list[tuple[int, int]]:
    """Return the assignment of minimum total cost, without forbidden pairs."""
    from scipy.optimize import linear_sum_assignment

    if not costs or not costs[0]:
        return []
    table = np.array(costs)
    return [(int(i), int(j)) for i, j in zip(*linear_sum_assignment(table), strict=True) if table[i, j] < FORBIDDEN]


def face_track(faces: dict[int, Face], num_frames: int, size: tuple[int, int]) -> FaceTrack:
    """Return the track of a face from frame -> the face in it."""
    width, height = size
    track = unseen(num_frames)
    for t, face in faces.items():
        track.seen[t] = True
        track.box[t] = np.array(face.box) / (width, height, width, height)
        track.landmarks[t] = face.points / (width, height, width)
        track.blendshapes[t] = face.blendshapes
        track.pose[t] = face.pose
    return track
