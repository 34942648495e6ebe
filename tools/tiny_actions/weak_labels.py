"""What the class or the caption of a picture says about the person in it, and what it does not say.

Ids are AVA's. A picture of "eating" says nothing of standing or of holding: whatever is not listed stays unknown.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

Poses = dict[int, float]

CAPTION_POSES = {"stand": 12, "sit": 11, "walk": 14, "run": 10, "jump": 7, "dance": 4, "lie": 8, "swim": 13}
CAPTION_ACTIONS = {
    **{"hold": 17, "climb": 20, "talk": 79, "fight": 64, "catch": 18, "drink": 27, "throw": 58, "music": 41, "eat": 29},
    **{"smoke": 54, "hug": 70, "read": 48, "phone": 15, "sing": 77, "fish": 33, "kiss": 72, "paint": 39, "push": 46},
    **{"pull": 45, "cut": 24, "cook": 23, "handshake": 68, "write": 63, "dig": 25},
}
RIDE = 49
SAID_IF_SEEN = frozenset(
    {15, 18, 20, 23, 24, 27, 29, 33, 41, 45, 46, 48, 49, 50, 51, 52, 54, 58, 63, 64, 67, 68, 69, 70, 72, 77}
)
"""Actions that some of four captions would have named; watching, holding and talking they pass over."""

HAR_ACTIONS: dict[str, list[int]] = {
    **{"calling": [15], "clapping": [67], "cycling": [49], "drinking": [27], "eating": [29], "fighting": [64]},
    **{"hugging": [70], "texting": [57], "using_laptop": [62]},
    **{"dancing": [], "laughing": [], "listening_to_music": [], "running": [], "sitting": [], "sleeping": []},
}
HAR_CLASSES = (
    *("calling", "clapping", "cycling", "dancing", "drinking", "eating", "fighting", "hugging", "laughing"),
    *("listening_to_music", "running", "sitting", "sleeping", "texting", "using_laptop"),
)
HAR_POSES: dict[str, Poses] = {
    "dancing": {4: 1},
    "running": {10: 1},
    "sitting": {11: 1},
    "sleeping": {8: 1},
    "cycling": {11: 1},
}
HAR_ABSENT = (15, 67, 49, 27, 29, 64, 70, 57, 62, 41, 50, 51, 33, 20, 58)
HAR_ABSENT_IN_REST = (49, 64, 50, 51, 20, 58, 67)

SPORTS: dict[str, tuple[Poses, list[int]]] = {
    "swimming": ({13: 1}, []),
    "rowing": ({11: 1}, [50]),
    "canoe slamon": ({11: 1}, [50]),
    "sailboat racing": ({}, [51]),
    "archery": ({12: 1}, [52]),
    "fly fishing": ({12: 0.8, 14: 0.1}, [33]),
    "horse racing": ({11: 1}, [49]),
    "horse jumping": ({11: 1}, [49]),
    "polo": ({11: 1}, [49]),
    "bull riding": ({11: 1}, [49]),
    "track bicycle": ({11: 1}, [49]),
    "bmx": ({}, [49]),
    "motorcycle racing": ({11: 1}, [49]),
    "bike polo": ({11: 1}, [49]),
    "boxing": ({9: 1}, [64]),
    "judo": ({9: 1}, []),
    "fencing": ({9: 0.7, 12: 0.3}, []),
    "olympic wrestling": ({9: 1}, []),
    "sumo wrestling": ({9: 1}, []),
    "rock climbing": ({}, [20]),
    "ice climbing": ({}, [20]),
    "pole climbing": ({}, [20]),
    "tennis": ({}, [34]),
    "table tennis": ({}, [34]),
    "baseball": ({}, [34]),
    "golf": ({12: 1}, [34]),
    "croquet": ({}, [34]),
    "cricket": ({}, [34]),
    "field hockey": ({}, [34]),
    "javelin": ({}, [58]),
    "shot put": ({}, [58]),
    "disc golf": ({}, [58]),
    "frisbee": ({}, [58]),
    "axe throwing": ({12: 1}, [58]),
    "hammer throw": ({}, [58]),
    "bowling": ({}, [58]),
    "high jump": ({7: 1}, []),
    "hurdles": ({7: 0.6, 10: 0.4}, []),
    "pole vault": ({7: 1}, []),
    "weightlifting": ({12: 0.5, 3: 0.5}, [36]),
    "pole dancing": ({4: 1}, []),
    "figure skating women": ({}, []),
    "tug of war": ({}, [45]),
    "football": ({10: 0.7}, []),
    "rugby": ({10: 0.7}, []),
    "basketball": ({}, []),
    "volleyball": ({}, []),
    "snow boarding": ({}, []),
    "surfing": ({}, []),
    "billiards": ({1: 0.7, 12: 0.3}, []),
}
SPORTS_ABSENT = (15, 57, 62, 48, 29, 27, 67, 41, 50, 51, 33, 52, 20, 49, 64, 70, 68)
WRESTLERS = ("judo", "fencing", "olympic wrestling", "sumo wrestling")

CLASSROOM: dict[str, tuple[Poses, list[int], list[int]]] = {
    "Using_PC": ({11: 1}, [62], [57, 15, 29, 27]),
    "Using_mobile_phone": ({11: 1}, [57], [62, 29]),
    "Looking_at_Documents": ({11: 1}, [48], [57, 15]),
    "Lecturer": ({12: 1}, [], [62, 57, 48, 29]),
    "Focusing": ({11: 1}, [], [57, 15, 29]),
    "Turning_Head": ({11: 1}, [], [57]),
}
FALLS_POSES: dict[str, Poses] = {"0": {8: 1}, "1": {12: 1}, "2": {11: 1}}

JHMDB_ACTIONS = {
    **{"catch": 18, "clap": 67, "golf": 34, "kick_ball": 35, "pick": 36, "push": 46, "shoot_ball": 58},
    **{"shoot_bow": 52, "shoot_gun": 52, "swing_baseball": 34, "throw": 58, "wave": 69},
}
JHMDB_POSES: dict[str, Poses] = {
    "walk": {14: 1},
    "run": {10: 1},
    "jump": {7: 1},
    "climb_stairs": {14: 0.8, 10: 0.2},
    "pick": {1: 0.7, 3: 0.3},
    "stand": {6: 0.7, 12: 0.3},  # JHMDB's "stand" is standing up, its "sit" sitting down
}
JHMDB_ON_THE_SPOT = frozenset(
    {"golf", "shoot_bow", "shoot_gun", "swing_baseball", "pour", "brush_hair", "clap", "wave", "pullup"}
)


def caption_poses(votes: Mapping[str, int]) -> tuple[Poses, float]:
    """Poses that sum to 1, and their weight, from how many captions of a picture named which.

    Bending counts half as bending, half as crouching. Who rides sits.
    """
    poses: Poses = {}
    for word, count in votes.items():
        for class_id, part in {1: 0.5, 3: 0.5}.items() if word == "bend" else {CAPTION_POSES.get(word, 0): 1.0}.items():
            if class_id:
                poses[class_id] = poses.get(class_id, 0) + count * part
    if votes.get("ride", 0) >= 2 and not poses:
        poses = {11: 0.6, 12: 0.1}
    total = sum(poses.values())
    return {class_id: share / total for class_id, share in poses.items()}, min(1.0, total / 3)


def caption_actions(
    actions: Mapping[str, int], rides: int, captions: int, rng: random.Random
) -> tuple[list[int], list[int]]:
    """Actions present and absent, from how many captions named which.

    Two captions make an action present, one leaves it unknown or, one time in two, makes it present. What none of at
    least four captions names is absent if it is one of `SAID_IF_SEEN`.
    """
    present: set[int] = set()
    absent = set(SAID_IF_SEEN) if captions >= 4 else set()
    for word, count in actions.items():
        class_id = CAPTION_ACTIONS.get(word)
        if class_id is None:
            continue
        if count == 1:
            absent.discard(class_id)
        if count >= 2 or rng.random() < 0.5:
            present.add(class_id)
    if rides >= 2:
        present.add(RIDE)
    elif rides == 1:
        absent.discard(RIDE)
    return sorted(present), sorted(absent - present)


def har_absent(name: str) -> list[int]:
    """What a picture of a HAR class surely does not show."""
    absent = [class_id for class_id in HAR_ABSENT if class_id not in HAR_ACTIONS[name]]
    if name in ("drinking", "eating"):
        return [class_id for class_id in absent if class_id not in (27, 29)]
    if name in ("laughing", "sitting", "listening_to_music", "sleeping"):
        return [class_id for class_id in absent if class_id in HAR_ABSENT_IN_REST]
    return absent


def sports_absent(name: str) -> list[int]:
    """What a picture of a sport surely does not show."""
    absent = [class_id for class_id in SPORTS_ABSENT if class_id not in SPORTS[name][1]]
    return [class_id for class_id in absent if name not in WRESTLERS or class_id not in (64, 70)]


def jhmdb_labels(name: str) -> tuple[Poses, list[int], list[int]]:
    """Poses, actions present and actions absent of a JHMDB-21 class, which drawn figures have as well."""
    present = [JHMDB_ACTIONS[name]] if name in JHMDB_ACTIONS else []
    absent = set(JHMDB_ACTIONS.values()) - set(present)
    if name in ("catch", "throw", "shoot_ball"):
        absent -= {18, 58}
    if name in ("sit", "stand", "walk", "run", "jump", "climb_stairs"):
        absent -= {36, 46}
    return JHMDB_POSES.get(name, {}), present, sorted(absent)
