"""The classes by their AVA v2.2 ids, the words with which they were labelled by eye, and the columns of the net."""

from __future__ import annotations

LABEL_MAP = "ava_v2.2"
CANNOT_TELL = 0
"""What stands for a pose where only head and shoulders are seen, say; the last column of the poses."""

NUM_POSES, NUM_ACTIONS = 15, 66
"""Columns of the two heads: the 14 poses and "cannot tell"; ids 15 to 80."""

FIRST_ACTION = 15

POSE_IDS = {
    "stand": 12,
    "sit": 11,
    "walk": 14,
    "run": 10,
    "lie": 8,
    "bend": 1,
    "crouch": 3,
    "jump": 7,
    "dance": 4,
    "crawl": 2,
    "fall": 5,
    "martial": 9,
    "swim": 13,
    "getup": 6,
    "?": CANNOT_TELL,
}
ACTION_IDS = {
    "hold": 17,
    "eat": 29,
    "drink": 27,
    "smoke": 54,
    "phone": 15,
    "text": 57,
    "read": 48,
    "write": 63,
    "computer": 62,
    "watch_tv": 61,
    "photo": 56,
    "ride": 49,
    "drive": 28,
    "row": 50,
    "sail": 51,
    "fish": 33,
    "climb": 20,
    "cook": 23,
    "cut": 24,
    "throw": 58,
    "catch": 18,
    "hit": 34,
    "kick": 35,
    "push": 46,
    "pull": 45,
    "lift": 36,
    "putdown": 47,
    "shoot": 52,
    "dig": 25,
    "shovel": 53,
    "music": 41,
    "paint": 39,
    "brush": 16,
    "dress": 26,
    "touch": 59,
    "open": 38,
    "talk": 79,
    "listen": 74,
    "hug": 70,
    "kiss": 72,
    "fight": 64,
    "handshake": 68,
    "clap": 67,
    "wave": 69,
    "give": 65,
    "sing": 77,
    "kick_p": 71,
    "push_p": 76,
    "grab": 66,
    "lift_p": 73,
    "playkids": 75,
}
SELDOM_SEEN = frozenset({59, 74, 79, 80})
"""Touching, listening, talking, watching: whoever labels a picture by eye may leave them out though they are there."""

RUN, JUMP, WALK = 10, 7, 14
LOCOMOTION = (WALK, RUN, JUMP)
UPRIGHT = (12, WALK, RUN)


def pose_column(class_id: int) -> int:
    """Column of a pose, or of `CANNOT_TELL`: ids 1 to 14 -> 0 to 13, 0 -> 14."""
    return class_id - 1 if class_id != CANNOT_TELL else NUM_POSES - 1


def action_column(class_id: int) -> int:
    """Column of an action that is no pose: ids 15 to 80 -> 0 to 65."""
    return class_id - FIRST_ACTION
