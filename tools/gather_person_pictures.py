"""Take the pictures that the person detector learns from out of git clones: gather_person_pictures.py CLONES OUT.

CLONES holds clones of the repositories of `SOURCES` (bare ones will do), each named OWNER+NAME. Every source becomes a
folder of OUT with `images/` and, where people drew boxes, `labels/` (YOLO txt). Pictures of the test half of
coco128_yolo are left out of every source. What is there already is not written again.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

COCO_TEST = ("lightly-ai/coco128_yolo", "6d6f7a059ea63efffdbe48aca2d52c04d4c510e9", r"images/val2017/(\d{12})\.jpg")
COCO_NAME = r"[^\d](\d{12})\.jpg"


@dataclass(frozen=True)
class Source:
    """Files of one commit.

    Attributes:
        name: folder of OUT.
        repo: OWNER/NAME on GitHub.
        commit: where the files are (some were deleted later).
        files: pattern of their paths; what its groups match, joined by "_", becomes the name of the file.
        every: only every n-th of them.
        kind: `images`, `labels` (YOLO txt), or `coco` (JSON from which YOLO txt are made: 0 = person, -1 = a crowd).
    """

    name: str
    repo: str
    commit: str
    files: str
    every: int = 1
    kind: str = "images"


FALLS = ("moreyball/Automated-Fall-Detection", "7bac7aa3265cd7f6f82f8f40491470f317688d73")
FALLEN = ("skm00147/fall_dataset", "046ddf85efb5f974f65fd7f81f297241def74069")
CLASSROOM = ("NguyenManhDung27/BAV_classroom_monitoring_CV", "cc04359a936743e3326d38b6d9500d4e7bf137d9")
OPEN_IMAGES = ("DineshRamachandran14/data", "598a5ba0854a24147e42d994aa0b5754efca69e4")
TINY = ("zzowenzz/COCO_Tiny", "e7a689f7d6d1a1908df287c3e79eccdadfdba1fe")
MINI = ("Obmutescence/COCO-MINI", "644f29e7c1d2eefd9c4412d39bc5b0ee6fd0afd4")
TINIER = ("enginbozaba/tiny_coco", "44ee1df5a4f5c3fa6ab7c68d85a0d45590758584")
ADE_AND_COCO = ("lehtoneo/cross-platform-inference-data-api", "be34c324f674b2493f388d715c26146722d507f7")
HAR = (
    "UmaimaKhan01/RESNET-and-VIT-performance-on-Human-Action-Recognition-",
    "557e76add2929248efcc860a2f77ab5705c45dda",
)
SOURCES = (
    Source("coco", *TINY, r"(?:train|val)2017/(\d{12})\.jpg"),
    Source("coco", *MINI, r"(?:train|val)2017/(\d{12})\.jpg"),
    Source("coco", *TINIER, r"images/.*/(\d{12})\.jpg"),
    Source(
        "coco", "codewithminer/ImageCaptioning", "8f5b204be403af43e70fc272ff156014b2e2d50e", rf"images/.*{COCO_NAME}"
    ),
    Source("coco", "ManaviAgrawal/VQA", "1b3c07d6dc2ff87ec515d390218fbd32260ae85c", rf"train2014/.*{COCO_NAME}"),
    Source("coco", *COCO_TEST[:2], r"images/train2017/(\d{12})\.jpg"),
    Source("coco", *TINY, r"annotations/.*\.json", kind="coco"),
    Source("coco", *MINI, r"annotations/instances.*\.json", kind="coco"),
    Source("coco", *TINIER, r"annotations/.*\.json", kind="coco"),
    Source("coco", *COCO_TEST[:2], r"object_detection/labels/train2017/(\d{12})\.txt", kind="labels"),
    Source(
        "coco",
        "Jar-17/yolov7_for_baseball",
        "3b2e46c436e3a382cc6ef056f13dff551918ebe0",
        r"labels/(?:train|val)2017/(\d{12})\.txt",
        kind="labels",
    ),
    Source("coco_test", *COCO_TEST),
    Source("coco_test", *COCO_TEST[:2], r"object_detection/labels/val2017/(\d{12})\.txt", kind="labels"),
    Source("open_images", *OPEN_IMAGES, r"coco/(?:train|val|test)2017/(\w+)\.rf.*\.jpg"),
    Source("open_images", *OPEN_IMAGES, r"annotations/.*\.json", kind="coco"),
    Source("classroom", *CLASSROOM, r"Dataset for Detection/.*/(frame_\d+).*\.jpg"),
    Source("classroom", *CLASSROOM, r"Dataset for Detection/.*\.json", kind="coco"),
    Source("falls", *FALLS, r"images/one_step/(train|test)/(.*)\.jpg"),
    Source("falls", *FALLS, r"images/one_step/(train|test)/(.*)\.txt", kind="labels"),
    Source("fallen", *FALLEN, r"(train|val)/images/((?:(?!_flipped).)*)\.jpg"),
    Source("fallen", *FALLEN, r"(train|val)/labels/((?:(?!_flipped).)*)\.txt", kind="labels"),
    Source(
        "flickr", "quantumnaan/sic_translator", "d27da85cff2dbf143fcaf365aece667d66c4298f", r"data/images/(\w+)\.jpg"
    ),
    Source("coco_other", *ADE_AND_COCO, r"coco/(\d{12})\.jpg"),  # numbers of its own, not COCO's
    Source("ade20k", *ADE_AND_COCO, r"ade20k/(\w+)\.jpg"),
    Source("har", *HAR, r"data/train/(\w+)/(.*)\.jpg", every=4),
    Source(
        "sports",
        "Vigneshraj15/SportsActivityDetection",
        "624cd21d707c906353a17f90bd79d94c6bab907f",
        r"train/(.*)/(\w+)\.jpg",
        every=8,
    ),
    Source(
        "nobody",
        "mfurkannargul/people-detection-hog-svm-matlab",
        "c0aa89bbb03b64d104bd18c55cd7b8183b571a37",
        r"training_images/negative/(.*)\.(?:jpg|png)",
        every=4,
    ),
    Source(
        "fights",
        "seymanurakti/fight-detection-surv-dataset",
        "ff83b7c521e5ca4eb67a212cc42dbc54f39d6290",
        r"(.*)/(\w+)\.mp4",
    ),
    Source(
        "homes",
        "vinbalajadia/elderly_activity_monitoring_system",
        "b741692c0b136937e087df591b189430aeba911e",
        r"videos/(\w+)\.mp4",
    ),
)


class Clone:
    """Read access to one commit of a clone."""

    def __init__(self, clones: Path, repo: str, commit: str) -> None:
        """Find the git folder."""
        folder = clones / repo.replace("/", "+")
        places = (folder / "repo" / ".git", folder / "repo", folder / ".git", folder)
        self._git = ["git", f"--git-dir={next(place for place in places if (place / 'objects').is_dir())}"]
        self._commit = commit

    def paths(self) -> list[str]:
        """All paths of the commit, sorted."""
        listed = subprocess.run(
            [*self._git, "ls-tree", "-rz", "--name-only", self._commit], capture_output=True, check=True
        )
        return sorted(listed.stdout.decode().strip("\0").split("\0"))

    def contents(self, paths: list[str]) -> Iterator[bytes]:
        """The files' bytes, in this order; empty for one whose content the clone lacks."""
        for path in paths:
            yield subprocess.run([*self._git, "cat-file", "blob", f"{self._commit}:{path}"], capture_output=True).stdout


def test_names(clones: Path) -> set[str]:
    """Numbers of the pictures that must never be learnt from."""
    repo, commit, pattern = COCO_TEST
    found = (re.fullmatch(pattern, path) for path in Clone(clones, repo, commit).paths())
    return {match[1] for match in found if match}


def gather(source: Source, clones: Path, out: Path, never: set[str]) -> int:
    """Write one source; the number of its files."""
    clone = Clone(clones, source.repo, source.commit)
    matches = [match for path in clone.paths() if (match := re.fullmatch(source.files, path))][:: source.every]
    if source.kind == "coco":
        for content in clone.contents([match[0] for match in matches]):
            yolo_from_coco(json.loads(content), out / source.name, never)
        return len(matches)
    goals = {match[0]: "_".join(match.groups()).replace("/", "_").replace(" ", "_") for match in matches}
    folder = out / source.name / source.kind
    folder.mkdir(parents=True, exist_ok=True)
    suffix = {path: ".txt" if source.kind == "labels" else Path(path).suffix for path in goals}
    wanted = [path for path, name in goals.items() if name not in never or source.name == "coco_test"]
    if source.kind == "labels":
        wanted = [path for path in wanted if any(out.joinpath(source.name, "images").glob(f"{goals[path]}.*"))]
    wanted = [path for path in wanted if not (folder / (goals[path] + suffix[path])).exists()]
    for path, content in zip(wanted, clone.contents(wanted)):
        if content or source.kind == "labels":
            (folder / (goals[path] + suffix[path])).write_bytes(content)
    return len(goals)


def yolo_from_coco(table: dict, folder: Path, never: set[str]) -> None:
    """Write a YOLO txt for every picture of a COCO table that is in the folder and has none yet.

    In the classroom set every class is a person who does something; elsewhere "person" is the one that counts.
    """
    persons = {row["id"] for row in table["categories"] if row["name"].lower() == "person"}
    persons = persons or {row["id"] for row in table["categories"]}
    (folder / "labels").mkdir(parents=True, exist_ok=True)
    there = {path.stem for path in (folder / "images").iterdir()}
    rows: dict[int, list[str]] = {row["id"]: [] for row in table["images"]}
    sizes = {row["id"]: (row["width"], row["height"]) for row in table["images"]}
    for row in table["annotations"]:
        if row["category_id"] in persons:
            (width, height), (x, y, w, h) = sizes[row["image_id"]], row["bbox"]
            box = (x + w / 2) / width, (y + h / 2) / height, w / width, h / height
            rows[row["image_id"]].append(
                " ".join(["-1" if row.get("iscrowd") else "0", *(f"{side:.6f}" for side in box)])
            )
    for row in table["images"]:
        name = re.sub(r"(_jpg)?\.(rf\..*)?jpg$", "", row["file_name"])
        name = next((stem for stem in (name, f"{name}_jpg") if stem in there), None)
        if name and name not in never:
            goal = folder / "labels" / f"{name}.txt"
            if not goal.exists():
                goal.write_text("\n".join(rows[row["id"]]))


def main() -> None:
    """Gather everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clones", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", help="only these sources")
    args = parser.parse_args()
    never = test_names(args.clones)
    for source in SOURCES:
        if not args.names or source.name in args.names:
            count = gather(source, args.clones, args.out, never)
            print(f"{source.name}: {count} files of {source.repo} at {source.commit[:8]} ({source.kind})", flush=True)


if __name__ == "__main__":
    main()
