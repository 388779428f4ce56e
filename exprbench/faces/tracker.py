"""Following every person through a video: look where each face is expected, search the whole frame now and then."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from exprbench.faces.appearance import SAME_BELOW, appearance, distance
from exprbench.faces.boxes import Box, overlap
from exprbench.faces.landmarker import CROPS, Face, Landmarker
from exprbench.faces.tracks import FaceTrack, unseen

# Parameters of the tracks' cache key: change any and tracks are made again.
SEARCH_EVERY_S = 1.0
SEARCH_EVERY_S_WHEN_LOST = 0.4  # unseen in sight, or somebody just gone
LOST_FOR_S = 2.0  # how long somebody counts as just gone
LOOK_FOR_S = 1.0  # how long the place where a face was lost is looked at in every frame
BRIEF = 3  # frames a face may be hidden while its movement is still carried on
CLOSE_IN_LOOKS = 0.5
MIN_SEEN = 5  # frames in which somebody must be seen to be somebody
RECENT_BYTES = 200_000_000  # of frames kept for looking back
FORGOTTEN = 1e6

Square = tuple[np.ndarray, float]  # centre and side in pixels


@dataclass
class _Person:
    looks: np.ndarray
    faces: dict[int, Face] = field(default_factory=dict)

    @property
    def last(self) -> int:
        return max(self.faces)

    def expected(self, t: int, step: int = 1) -> tuple[np.ndarray, float]:
        """Centre and side at frame t, from the nearest frame seen before it (after it, when step is -1)."""
        near = max(self.faces) if step > 0 else min(self.faces)
        face, before = self.faces[near], self.faces.get(near - step)
        if before is None or abs(t - near) > BRIEF:
            return face.centre, face.side
        return face.centre + (face.centre - before.centre) * abs(t - near), face.side

    def remember(self, looks: np.ndarray) -> None:
        mixed = 0.95 * self.looks + 0.05 * looks
        self.looks = mixed / np.linalg.norm(mixed)


class FaceTracker:
    """Feed it frames in order with `update`; `compute` gives one `FaceTrack` a person, left to right.

    Args:
        landmarker: this process's landmarker.
        fps: frames a second of what is fed.
    """

    def __init__(self, landmarker: Landmarker, *, fps: float) -> None:
        self.landmarker = landmarker
        self.fps = fps
        self.people: list[_Person] = []
        self.recent: deque[np.ndarray] = deque()
        self.num_frames = 0
        self.searched = -1
        self.size = (0, 0)

    def update(self, frame: np.ndarray) -> None:
        """Take the next (H, W, 3) uint8 RGB frame."""
        t = self.num_frames
        self.size = frame.shape[1], frame.shape[0]
        self._follow(frame, t)
        if self._search_due(t, frame.nbytes):
            self._search(frame, t)
            self.searched = t
            self.recent.clear()
        self.recent.append(frame)
        self.num_frames += 1

    def _active(self, t: int) -> list[_Person]:
        return [p for p in self.people if t - p.last <= LOOK_FOR_S * self.fps]

    def _search_due(self, t: int, frame_bytes: int) -> bool:
        if self.searched < 0 or len(self.recent) * frame_bytes > RECENT_BYTES:
            return True
        gone = [t - p.last for p in self.people if p.last < t]
        lost = len(gone) == len(self.people) or min(gone, default=FORGOTTEN) <= LOST_FOR_S * self.fps
        return t - self.searched >= self.fps * (SEARCH_EVERY_S_WHEN_LOST if lost else SEARCH_EVERY_S)

    def _follow(self, frame: np.ndarray, t: int) -> None:
        """Look for everybody where they are expected, again in other crops for those not found."""
        for crop in CROPS:
            people = [p for p in self._active(t) if t not in p.faces]
            taken = [p.faces[t].box for p in self.people if t in p.faces]
            faces = self._faces_in(frame, _squares(people, t, crop), taken)
            looks = [appearance(frame, face) for face in faces]
            costs = [[_follow_cost(p, t, f, look) for f, look in zip(faces, looks, strict=True)] for p in people]
            for i, j in _cheapest(costs):
                self._accept(people[i], t, frame, faces[j], looks[j])

    def _faces_in(self, frame: np.ndarray, squares: list[Square], taken: list[Box]) -> list[Face]:
        faces: list[Face] = []
        for centre, side in squares:
            for face in self.landmarker.detect(frame, centre, side):
                if all(overlap(face.box, box) < 0.5 for box in [*taken, *(f.box for f in faces)]):
                    faces.append(face)
        return faces

    def _search(self, frame: np.ndarray, t: int) -> None:
        """Find faces unseen is following; each is somebody who was here before, or somebody new."""
        taken = [p.faces[t].box for p in self.people if t in p.faces]
        faces: list[Face] = []
        for box in self.landmarker.search(frame):
            face = self._face_at(frame, box, [*taken, *(f.box for f in faces)])
            faces += [face] if face else []
        looks = [appearance(frame, face) for face in faces]
        absent = [p for p in self.people if t not in p.faces]
        costs = [[_return_cost(p, look) for look in looks] for p in absent]
        known = {j: absent[i] for i, j in _cheapest(costs)}
        for j, face in enumerate(faces):
            person = known.get(j) or _Person(looks[j])
            if j not in known:
                self.people.append(person)
            self._look_back(person, t, face)
            self._accept(person, t, frame, face, looks[j])

    def _face_at(self, frame: np.ndarray, box: Box, taken: list[Box]) -> Face | None:
        """The face the detector's box is of, if it is unseen's yet and the landmarks confirm it."""
        if any(overlap(box, other) > 0.3 for other in taken):
            return None
        centre = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
        return self._nearest(frame, centre, max(box[2] - box[0], box[3] - box[1]), taken)

    def _look_back(self, person: _Person, t: int, face: Face) -> None:
        """Somebody found by a search was perhaps there before it: follow them backwards to the search before."""
        trail = _Person(person.looks, {t: face})
        misses = 0
        for s in range(t - 1, t - 1 - len(self.recent), -1):
            if s in person.faces or misses > BRIEF:
                return
            frame = self.recent[s - t]
            others = [p.faces[s].box for p in self.people if s in p.faces]
            centre, side = trail.expected(s, step=-1)
            seen = self._nearest(frame, centre, side, others)
            misses = 0 if seen else misses + 1
            if seen:
                trail.faces[s] = seen
                self._accept(person, s, frame, seen, appearance(frame, seen))

    def _nearest(self, frame: np.ndarray, centre: np.ndarray, side: float, others: list[Box]) -> Face | None:
        for crop in CROPS:
            faces = [f for f in self._faces_in(frame, [(centre, side * crop)], others) if _fits(centre, side, f)]
            if faces:
                return min(faces, key=lambda f: float(np.linalg.norm(f.centre - centre)))
        return None

    def _accept(self, person: _Person, t: int, frame: np.ndarray, face: Face, looks: np.ndarray) -> None:
        person.faces[t] = face
        person.remember(looks)

    def _somebodies(self) -> list[_Person]:
        enough = min(MIN_SEEN, max(1, self.num_frames // 4))
        people = [p for p in self.people if len(p.faces) >= enough]
        return sorted(people, key=lambda p: float(p.faces[min(p.faces)].centre[0]))

    def compute(self) -> tuple[FaceTrack, ...]:
        """One track a person over the frames added so far, left to right by where each was first seen."""
        return tuple(_track(p.faces, self.num_frames, self.size) for p in self._somebodies())


def _squares(people: list[_Person], t: int, crop: float) -> list[Square]:
    """Where to look: one square a person, or one for all whose squares hold each other's face."""
    squares: list[Square] = []
    for person in people:
        centre, side = person.expected(t)
        square = centre, side * crop
        while near := next((s for s in squares if _holds(s, square[0]) or _holds(square, s[0])), None):
            squares = [s for s in squares if s is not near]
            square = _around(square, near)
        squares.append(square)
    return squares


def _holds(square: Square, point: np.ndarray) -> bool:
    return bool(np.abs(square[0] - point).max() < square[1] / 2)


def _around(a: Square, b: Square) -> Square:
    low = np.minimum(a[0] - a[1] / 2, b[0] - b[1] / 2)
    high = np.maximum(a[0] + a[1] / 2, b[0] + b[1] / 2)
    return (low + high) / 2, float((high - low).max())


def _fits(centre: np.ndarray, side: float, face: Face, reach: float = 1.0) -> bool:
    return bool(np.linalg.norm(face.centre - centre) < reach * side and 0.5 < face.side / side < 2)


def _follow_cost(person: _Person, t: int, face: Face, looks: np.ndarray) -> float:
    """How little a face is what was expected of a person followed: distance in face sizes, and looks."""
    centre, side = person.expected(t)
    gap = t - person.last
    unlike = distance(person.looks, looks)
    if not _fits(centre, side, face, reach=1 + 0.1 * (gap - 1)) or unlike > (
        CLOSE_IN_LOOKS if gap <= BRIEF else SAME_BELOW
    ):
        return FORGOTTEN
    return float(np.linalg.norm(face.centre - centre) / side) + 2 * unlike


def _return_cost(person: _Person, looks: np.ndarray) -> float:
    unlike = distance(person.looks, looks)
    return unlike if unlike < SAME_BELOW else FORGOTTEN


def _cheapest(costs: list[list[float]]) -> list[tuple[int, int]]:
    """The assignment of least total cost, without the pairs that were ruled out."""
    if not costs or not costs[0]:
        return []
    table = np.array(costs)
    return [(int(i), int(j)) for i, j in zip(*linear_sum_assignment(table), strict=True) if table[i, j] < FORGOTTEN]


def _track(faces: dict[int, Face], num_frames: int, size: tuple[int, int]) -> FaceTrack:
    width, height = size
    track = unseen(num_frames)
    for t, face in faces.items():
        track.seen[t] = True
        track.box[t] = np.array(face.box) / (width, height, width, height)
        track.landmarks[t] = face.points / (width, height, width)
        track.blendshapes[t] = face.blendshapes
        track.pose[t] = face.pose
    return track
