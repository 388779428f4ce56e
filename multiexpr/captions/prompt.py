"""Prompt of the captioners."""

DEFAULT = """\
These are {frames} frames of a clip that shows {people} people, in the order of time. Describe the clip in one \
paragraph. Begin with the scene and with how the people relate to each other. Then take the people one by one, from \
left to right, and describe each one's facial expression: what the eyes, the brows and the mouth do, what feeling they \
show, how this changes during the clip, where the person looks and how the head moves. Call people by their place and \
their looks ("the woman on the left, with short hair"), never by a name. Say only what can be seen."""


def build_prompt(template: str, num_people: int, num_frames: int) -> str:
    """Return the recipe's prompt, or the default one if it is empty, with the numbers of a clip filled in."""
    return (template or DEFAULT).replace("{people}", str(num_people)).replace("{frames}", str(num_frames))
