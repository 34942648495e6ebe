"""What `tiny` was taught with: where it is, under which licence as stated there, and what it teaches."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """One data set, or a part of one.

    Attributes:
        name: also the folder under `--data` that holds its files, as they lie in the repository.
        repository: OWNER/NAME on GitHub, or the name of a data set.
        commit: where its files are; some are gone at the head of the repository. "" where that does not apply.
        paths: of the repository, which `git archive COMMIT PATH ...` extracts.
        licence: as stated by whoever hands it out.
        permissive: whether pictures may be used for more than research by a licence that is stated for them;
            `--permissive-only` leaves out all others.
        count: of pictures, clips or videos, as used.
        teaches: in a few words.
        permissive_files: of a source that is not permissive as a whole, the files that are.
        left_out: parts of paths of files that are never used, since models are measured on them.
    """

    name: str
    repository: str
    commit: str
    paths: tuple[str, ...]
    licence: str
    permissive: bool
    count: str
    teaches: str
    permissive_files: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def allows(self, file: str, permissive_only: bool) -> bool:
        """Whether a file, by its path inside the folder of the source, may be used."""
        if any(part in file for part in self.left_out):
            return False
        return self.permissive or not permissive_only or file in self.permissive_files


FLICKR8K = Source(
    name="flickr8k",
    repository="RlNZLER/Image-Text-Matching",
    commit="56a15d913c3f290e2ee896386ece6076c1eea02e",
    paths=("data/images",),
    licence="repository MIT; pictures under Flickr's terms, for non-commercial research",
    permissive=False,
    count="8,091 pictures, 15,345 persons",
    teaches="poses and some twenty actions, from captions whose phrases have boxes (Flickr30k Entities)",
)
HAR = Source(
    name="har",
    repository="UmaimaKhan01/RESNET-and-VIT-performance-on-Human-Action-Recognition-",
    commit="557e76add2929248efcc860a2f77ab5705c45dda",
    paths=("data/train", "data/test"),
    licence="ODbL for the collection; none stated for the pictures (stock photos)",
    permissive=False,
    count="12,600 pictures",
    teaches="15 classes, one a picture: calling, clapping, cycling, drinking, eating, texting, using a laptop, ...",
)
SPORTS = Source(
    name="sports",
    repository="Vigneshraj15/SportsActivityDetection",
    commit="624cd21d707c906353a17f90bd79d94c6bab907f",
    paths=("train",),
    licence="none stated",
    permissive=False,
    count="4,300 pictures of 52 sports",
    teaches="swim, ride, row, sail, shoot, hit, throw, climb, martial arts",
)
FALLS = Source(
    name="falls",
    repository="moreyball/Automated-Fall-Detection",
    commit="51220fb8fe9b5e4b232074f95dc0a6c76b74ac8e",
    paths=("images",),
    licence="none stated",
    permissive=False,
    count="485 pictures, 567 persons",
    teaches="lie, stand, sit indoors, with boxes",
)
CLASSROOM = Source(
    name="classroom",
    repository="NguyenManhDung27/BAV_classroom_monitoring_CV",
    commit="cc04359a936743e3326d38b6d9500d4e7bf137d9",
    paths=("Dataset for Detection",),
    licence="CC BY 4.0",
    permissive=True,
    count="310 pictures, 2,004 of 7,741 persons",
    teaches="sit, work on a computer, look at a phone, read",
)
HOMES = Source(
    name="homes",
    repository="vinbalajadia/elderly_activity_monitoring_system",
    commit="b741692c0b136937e087df591b189430aeba911e",
    paths=("dataset_fixed", "videos"),
    licence="none stated",
    permissive=False,
    count="313 pictures, 23 videos",
    teaches="sit and stand, getting up",
)
FALLEN = Source(
    name="fallen",
    repository="skm00147/fall_dataset",
    commit="046ddf85efb5f974f65fd7f81f297241def74069",
    paths=("train/images", "val/images"),
    licence="none stated",
    permissive=False,
    count="216 pictures",
    teaches="lie",
)
CAPSTON2 = Source(
    name="capston2",
    repository="ahsanirfan961/Person-Tracker",
    commit="49473929cfd908d54becb8a0c8d9e9f7709f5aa1",
    paths=("Capston2-11",),
    licence="CC BY 4.0, as its README says; its own sources include COCO and YouTube",
    permissive=True,
    count="the pictures named in labels/pictures.csv",
    teaches="everyday people, labelled by eye for this model",
)
JHMDB21 = Source(
    name="jhmdb21",
    repository="JHMDB-21 (Jhuang et al., ICCV 2013), in the form that `avadet` reads",
    commit="",
    paths=(),
    licence="HMDB-51 is handed out as CC BY 4.0, JHMDB for research; the footage belongs to its owners",
    permissive=False,
    count="split 1: 660 clips to learn from, 268 to score on",
    teaches="walk, run, jump, climb stairs, pick up, and what is done on the spot",
)
FIGHTS = Source(
    name="fights",
    repository="seymanurakti/fight-detection-surv-dataset",
    commit="ff83b7c521e5ca4eb67a212cc42dbc54f39d6290",
    paths=("fight", "noFight"),
    licence="repository MIT; footage from YouTube, for which none is stated",
    permissive=False,
    count="300 clips of 2 s of surveillance cameras",
    teaches="movement against stillness, fights",
)
UT_INTERACTION = Source(
    name="ut_interaction",
    repository="deliangWu/Video-Interaction-Recognition-and-Detection-",
    commit="0b703755a0e66c3eec09fc341a4689d636c31816",
    paths=("datasets/UT_Interaction",),
    licence="academic use",
    permissive=False,
    count="120 clips, less those that are measured on",
    teaches="hand shakes, and people who stand or walk",
)
UCF24 = Source(
    name="ucf24",
    repository="yjh0410/YOWOv2",
    commit="9e8d23c11ad26ef5e6cfc01e3f4f1112dee634bf",
    paths=("dataset/ucf24_demo",),
    licence="repository MIT; UCF101 clips from YouTube, for research",
    permissive=False,
    count="6 clips",
    teaches="movement; labels by eye",
    left_out=("Basketball_g07_c04", "Fencing_g01_c06", "SalsaSpin_g03_c01"),
)
CLIPS = Source(
    name="clips",
    repository="six public test clips, see the README",
    commit="",
    paths=(),
    licence="each its own: CC BY 4.0 (intel_asl_walk), public domain (nasa_13013), repositories' for the others",
    permissive=False,
    count="6 videos",
    teaches="movement; labels by eye",
    permissive_files=("intel_asl_walk.mkv", "nasa_13013.mp4"),
)
FIGURES = Source(
    name="figures",
    repository="drawn by avadet.synthetic",
    commit="",
    paths=(),
    licence="Apache-2.0",
    permissive=True,
    count="420 scenes",
    teaches="walk, run, jump, wave, clap, pick up, kick as movement alone",
)
SOURCES = (
    FLICKR8K,
    HAR,
    SPORTS,
    FALLS,
    CLASSROOM,
    HOMES,
    FALLEN,
    CAPSTON2,
    JHMDB21,
    FIGHTS,
    UT_INTERACTION,
    UCF24,
    CLIPS,
    FIGURES,
)


def source_table(permissive_only: bool = False) -> str:
    """The list as a Markdown table."""
    rows = [
        "| folder | from | licence as stated | research only or unstated | used | teaches |",
        "|---|---|---|---|---|---|",
    ]
    for source in SOURCES:
        if source.permissive or not permissive_only or source.permissive_files:
            place = f"{source.repository} @ {source.commit[:8]}" if source.commit else source.repository
            flag = "" if source.permissive else "yes" if not source.permissive_files else "but for some files"
            cells = (source.name, place, source.licence, flag, source.count, source.teaches)
            rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def fetch_commands(data: str = "DATA", names: Collection[str] = ()) -> list[str]:
    """Shell commands that bring the files of each source on GitHub under `data`, one a source."""
    commands = []
    for source in SOURCES:
        if source.commit and (not names or source.name in names):
            quoted = " ".join(f'"{path}"' for path in source.paths)
            clone = f"clones/{source.name}"
            commands.append(
                f"git clone --bare https://github.com/{source.repository} {clone} && mkdir -p {data}/{source.name} && "
                f"git -C {clone} archive {source.commit} {quoted} | tar -x -C {data}/{source.name}"
            )
    return commands
