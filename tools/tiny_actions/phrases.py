"""Step `phrases`: which captions of Flickr8k's pictures say what of whom, out of Flickr30k Entities.

Plummer et al., "Flickr30k Entities: Collecting Region-to-Phrase Correspondences for Richer Image-to-Sentence Models",
ICCV 2015: phrases of captions have boxes. What follows a phrase of a person, up to the next person or animal, is about
that person.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from avadet.errors import AvadetError
from avadet.files import whole_file
from tiny_actions.persons import Report
from tiny_actions.pictures import PHRASES
from tiny_actions.sources import FLICKR8K

ENTITIES = "flickr30k_entities"
PHRASE = re.compile(r"\[/EN#(\d+)/([\w/]+) ([^\]]*)\]")
ACTORS = ("people", "animals")
GROUP = re.compile(
    r"\b(people|men|women|children|kids|group|crowd|couple|team|band|audience|family|\w+[^s\W]s)\b", re.I
)
POSE_WORDS = {
    "stand": r"stands?|standing|stood",
    "sit": r"sits?|sitting|sat|seated",
    "walk": r"walk(s|ing|ed)?|stroll(s|ing)?|hik(es|ing)",
    "run": r"runs?|running|ran|jog(s|ging)?|sprint(s|ing)?",
    "jump": r"jump(s|ing)?|leap(s|ing)?",
    "dance": r"danc(e|es|ing)",
    "lie": r"lies|lying|lays?|laying|sleep(s|ing)?|asleep",
    "bend": r"bend(s|ing)?|bent|crouch(es|ing|ed)?|kneel(s|ing)?|squat(s|ting)?",
    "swim": r"swims?|swimming(?! (pool|suit|trunks|cap))",
    "ride": r"rid(e|es|ing)",
}
ACTION_WORDS = {
    "hold": r"hold(s|ing)?|carr(y|ies|ying)",
    "climb": r"climb(s|ing)?",
    "talk": r"talk(s|ing)?|speak(s|ing)?|chat(s|ting)?",
    "fight": r"fight(s|ing)?|wrestl(e|es|ing)|box(es|ing)|punch(es|ing)?",
    "catch": r"catch(es|ing)?",
    "drink": r"drink(s|ing)?|sip(s|ping)?",
    "throw": r"throw(s|ing)?|toss(es|ing)?",
    "music": r"guitars?|drums?|violins?|pianos?|saxophones?|trumpets?|accordions?|flutes?|instruments?",
    "eat": r"eat(s|ing)?|bit(es|ing)|chew(s|ing)?",
    "smoke": r"smok(e|es|ing)|cigarettes?|cigars?",
    "hug": r"hug(s|ging)?|embrac(e|es|ing)",
    "read": r"read(s|ing)?",
    "phone": r"phones?|cellphones?|telephones?",
    "sing": r"sing(s|ing)?",
    "fish": r"fish(es|ing)",
    "kiss": r"kiss(es|ing)?",
    "paint": r"paint(s|ing)?",
    "push": r"push(es|ing)?",
    "pull": r"pull(s|ing)?|tow(s|ing)",
    "cut": r"cut(s|ting)?|slic(es|ing)|chop(s|ping)?",
    "cook": r"cook(s|ing)?|grill(s|ing)?",
    "handshake": r"shak(es|ing) hands",
    "write": r"writ(e|es|ing)",
    "dig": r"dig(s|ging)?",
}
_POSES, _ACTIONS = (
    {name: re.compile(rf"\b(?:{words})\b") for name, words in table.items()} for table in (POSE_WORDS, ACTION_WORDS)
)


def said_of(sentence: str) -> dict[str, str]:
    """What a caption says of each person: number of the person -> the words behind the phrase, in lower case.

    Of two persons who are joined ("a man and a woman dance"), the words behind the last are about both.
    """
    phrases = list(PHRASE.finditer(sentence))
    actors = [phrase for phrase in phrases if phrase[2].split("/")[0] in ACTORS]
    ends = [phrase.start() for phrase in actors[1:]] + [len(sentence)]
    texts = [PHRASE.sub(r"\3", sentence[one.end() : end]).lower().strip(" .,") for one, end in zip(actors, ends)]
    for place in reversed(range(len(actors) - 1)):
        if texts[place] == "and" and actors[place + 1][2].split("/")[0] == "people":
            texts[place] = texts[place + 1]
    said: dict[str, str] = {}
    for phrase, text in zip(actors, texts):
        if phrase[2].split("/")[0] == "people":
            said[phrase[1]] = f"{said.get(phrase[1], '')} {text}"
    return said


def votes(sentences: list[str], numbers: set[str]) -> tuple[Counter[str], Counter[str], int]:
    """How many captions say which pose and which action of who goes by `numbers`, and how many speak of that person."""
    poses: Counter[str] = Counter()
    actions: Counter[str] = Counter()
    captions = 0
    for said in map(said_of, sentences):
        text = " ".join(said[number] for number in said if number in numbers)
        captions += bool(numbers & said.keys())
        poses.update(name for name, pattern in _POSES.items() if pattern.search(text))
        actions.update(name for name, pattern in _ACTIONS.items() if pattern.search(text))
    return poses, actions, captions


def read_boxes(path: Path) -> tuple[list[int], dict[tuple[int, ...], set[str]]]:
    """Width and height of a picture, and the numbers that go with each box, xyxy px."""
    root = ElementTree.parse(path).getroot()
    size = [int(root.findtext(f"size/{side}") or 0) for side in ("width", "height")]
    boxes: dict[tuple[int, ...], set[str]] = {}
    for thing in root.iter("object"):
        corners = thing.find("bndbox")
        if corners is not None:
            box = tuple(int(corners.findtext(side) or 0) for side in ("xmin", "ymin", "xmax", "ymax"))
            boxes.setdefault(box, set()).update(name.text or "" for name in thing.iter("name"))
    return size, boxes


def person_rows(picture: str, entities: Path) -> Iterator[dict[str, object]]:
    """Rows of `person_phrases.json.gz` of one picture, one a box of a person.

    `single` is false where the only box of a phrase like "two men" holds them all.
    """
    number = picture.split("_")[0]
    sentences = (entities / "Sentences" / f"{number}.txt").read_text(encoding="utf-8").splitlines()
    (width, height), boxes = read_boxes(entities / "Annotations" / f"{number}.xml")
    for box, numbers in boxes.items():
        poses, actions, captions = votes(sentences, numbers)
        if captions:
            named = [one[3] for sentence in sentences for one in PHRASE.finditer(sentence) if one[1] in numbers]
            alone = sum(bool(numbers & others) for others in boxes.values()) == 1
            single = not (alone and sum(bool(GROUP.search(name)) for name in named) > len(named) / 2)
            row = {
                "file": picture,
                "w": width,
                "h": height,
                "box": list(box),
                "pose": dict(poses),
                "act": dict(actions),
            }
            yield {**row, "ncap": captions, "single": single}


def run(data: Path, report: Report) -> None:
    """Write `flickr8k/person_phrases.json.gz` under `data` from `flickr30k_entities/`; one that is there stays."""
    goal, entities = data / FLICKR8K.name / PHRASES, data / ENTITIES
    if goal.is_file():
        report(f"{goal} is there and stays")
        return
    if not (entities / "Sentences").is_dir():
        raise AvadetError(f"{entities} must hold Flickr30k Entities' Annotations and Sentences; see the README")
    pictures = sorted(path.name for path in (data / FLICKR8K.name / "data" / "images").glob("*.jpg"))
    rows = [row for picture in pictures for row in person_rows(picture, entities)]
    with whole_file(goal) as partial:
        partial.write_bytes(gzip.compress(json.dumps(rows).encode(), mtime=0))
    report(f"{len(rows):,} persons of {len(pictures):,} pictures")
