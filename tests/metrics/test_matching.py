from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exprbench.faces import FaceTracks
from exprbench.metrics.matching import match_source, match_tracks
from tests.people import moved, people, person

T = 30


def places(*xs, num_frames=T, size=(160, 96), **options):
    return people(num_frames, *(person(num_frames, x=x, seed=i, **options) for i, x in enumerate(xs)), size=size)


def reordered(tracks, order):
    return FaceTracks(**{**vars(tracks), "tracks": tuple(tracks.tracks[i] for i in order)})


def test_people_who_stand_where_they_stood_are_matched():
    reference, predicted = places(0.2, 0.5, 0.8), places(0.21, 0.49, 0.82)
    matching = match_tracks(reference, predicted)
    assert matching.predicted == (0, 1, 2)
    assert matching.left_over == ()


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(3)), st.permutations(range(4)))
def test_the_order_of_either_side_changes_nothing(rows, columns):
    reference, predicted = places(0.2, 0.5, 0.8), places(0.22, 0.5, 0.79, 0.35)
    straight = match_tracks(reference, predicted)
    turned = match_tracks(reordered(reference, rows), reordered(predicted, columns))
    assert [columns[j] for j in turned.predicted] == [straight.predicted[i] for i in rows]
    assert sorted(columns[j] for j in turned.left_over) == sorted(straight.left_over)


def test_a_missing_person_is_nobody_and_an_extra_one_is_left_over():
    reference = places(0.2, 0.8)
    assert match_tracks(reference, places(0.8)).predicted == (None, 0)
    assert match_tracks(reference, places(0.2, 0.5, 0.8)).left_over == (1,)
    assert match_tracks(reference, places()).predicted == (None, None)
    assert match_tracks(places(), reference).left_over == (0, 1)


def test_nobody_is_matched_beyond_the_gate():
    face = person(T, x=0.3)
    side = 0.2  # of the width: the longer side of the made-up face
    near, far = moved(face, 0.95 * side), moved(face, 1.1 * side)
    assert match_tracks(people(T, face), people(T, near)).predicted == (0,)
    assert match_tracks(people(T, face), people(T, far)).predicted == (None,)


def test_identities_cannot_swap_in_the_middle():
    """Two people who trade places half way: each stays who they were for longer."""
    left, right = person(T, x=0.3, seed=0), person(T, x=0.45, seed=1)
    late = 18
    arrays = ("seen", "box", "landmarks", "blendshapes", "pose")
    crossed = [
        type(left)(**{n: np.concatenate([getattr(a, n)[:late], getattr(b, n)[late:]]) for n in arrays})
        for a, b in ((left, right), (right, left))
    ]
    assert match_tracks(people(T, left, right), people(T, *crossed)).predicted == (0, 1)


def test_a_short_glimpse_does_not_beat_a_track_that_lasts():
    reference = places(0.5)
    glimpse = person(T, x=0.5, seed=0, hidden=range(3, T))
    lasting = person(T, x=0.53, seed=0)
    assert match_tracks(reference, people(T, glimpse, lasting)).predicted == (1,)


def test_a_prediction_of_another_size_shows_the_same_picture():
    reference = places(0.2, 0.8, size=(1280, 720))
    for size in ((640, 360), (720, 1280), (512, 512)):
        assert match_tracks(reference, places(0.8, 0.2, size=size)).predicted == (1, 0)


def test_a_shorter_prediction_is_matched_on_the_frames_it_has():
    assert match_tracks(places(0.2, 0.8), places(0.8, 0.2, num_frames=7)).predicted == (1, 0)


def test_tracks_never_seen_at_one_time_are_not_matched():
    first, second = (person(T, x=0.5, hidden=frames) for frames in (range(15, T), range(15)))
    assert match_tracks(people(T, first), people(T, second)).predicted == (None,)


def test_sources_faces_are_animated_where_they_stand():
    source = places(0.2, 0.5, 0.8, num_frames=1)
    predicted = places(0.79, 0.21, 0.52)
    assert match_source(3, predicted, source).predicted == (1, 2, 0)
    assert match_source(3, places(0.79, 0.21), source).predicted == (1, None, 0)
    assert match_source(3, places(0.79, 0.21, 0.5, 0.65), source).left_over == (3,)


def test_a_method_may_move_and_crop_its_source():
    """As many people as the source has are told apart by their order, however far they are from where they stood."""
    assert match_source(1, places(0.9), places(0.1, num_frames=1)).predicted == (0,)
    assert match_source(2, places(0.95, 0.6), places(0.1, 0.3, num_frames=1)).predicted == (1, 0)
    glimpse = person(T, x=0.1, seed=9, hidden=range(5, T))
    matching = match_source(1, people(T, glimpse, person(T, x=0.9, seed=0)), places(0.1, num_frames=1))
    assert (matching.predicted, matching.left_over) == ((1,), (0,))


def test_without_the_sources_faces_the_order_is_left_to_right():
    for order in permutations((0.2, 0.5, 0.8)):
        matched = match_source(3, places(*order)).predicted
        assert [order[j] for j in matched] == [0.2, 0.5, 0.8]


def test_faces_that_come_and_go_do_not_push_people_aside():
    passer_by = person(T, x=0.05, seed=9, hidden=range(5, T))
    predicted = people(T, passer_by, person(T, x=0.3, seed=0), person(T, x=0.7, seed=1))
    matching = match_source(2, predicted)
    assert matching.predicted == (1, 2)
    assert matching.left_over == (0,)


@pytest.mark.parametrize(("x", "place"), [(0.2, 0), (0.8, 1)])
def test_a_single_face_of_two_takes_the_nearer_place(x, place):
    matched = match_source(2, places(x)).predicted
    assert matched[place] == 0
    assert matched[1 - place] is None


def test_nobody_at_all():
    assert match_source(2, places()).predicted == (None, None)
    assert match_source(1, places(), places(0.5, num_frames=1)).predicted == (None,)


def boxed(x0, x1, seed=0):
    """A face whose box spans exactly these shares of the width, so that distances can be equal to the last bit."""
    box = np.tile(np.array([x0, 0.25, x1, 0.5], np.float32), (T, 1))
    return replace(person(T, x=(x0 + x1) / 2, seed=seed), box=box)


NEAR = boxed(0.25, 0.5, seed=1), boxed(0.5, 0.75, seed=2)
MIDDLE = people(T, boxed(0.375, 0.625))


def test_of_two_people_equally_near_the_same_one_is_matched_in_any_order():
    orders = list(permutations(range(2)))
    predicted = [match_tracks(MIDDLE, people(T, *(NEAR[i] for i in order))).predicted[0] for order in orders]
    reference = [match_tracks(people(T, *(NEAR[i] for i in order)), MIDDLE).predicted.index(0) for order in orders]
    assert len({order[found] for order, found in zip(orders, predicted, strict=True)}) == 1
    assert len({order[found] for order, found in zip(orders, reference, strict=True)}) == 1


def test_of_two_faces_of_a_still_equally_near_the_same_one_is_animated_in_any_order():
    orders = list(permutations(range(2)))
    stills = [people(1, *(NEAR[i].first(1) for i in order)) for order in orders]
    found = [match_source(2, MIDDLE, still).predicted.index(0) for still in stills]
    assert len({order[i] for order, i in zip(orders, found, strict=True)}) == 1
