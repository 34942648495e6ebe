"""What annotation files leave unsaid of videos, and which video and moment a picture's name means."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import unquote

from avadet.files import VIDEO_SUFFIXES

Numbers = Literal["frames", "seconds"]

_MOST_DIGITS = 9  # of a frame's number
_NUMBERED = re.compile(r"(.*?)[_\-. ]*(\d+(?:\.\d+)?)")
_WORD = re.compile(r"(?<=.)[_\-. ]+(?:frame|img|image)$", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:/|/|.*://")
_ANY_PICTURE = ("img", "im", "image", "frame", "pic", "picture", "photo", "thumb", "still", "keyframe", "f")
_ANY_FOLDER = (
    *("frames", "rawframes", "images", "imgs", "pictures", "jpegimages", "keyframes", "videos", "clips", "data"),
    *("train", "val", "valid", "validation", "test", "obj_train_data", "rgb", "rgb-images", "default", "upload", "tmp"),
    *_ANY_PICTURE,
)


class Misfit(ValueError):
    """What is wrong with one entry of an annotation file."""


class Unsaid(Misfit):
    """What neither the file nor the user says of a video; reported once, not for every box."""


@dataclass(frozen=True)
class Footage:
    """What annotation files often leave unsaid, given by the user or looked up in the videos.

    Attributes:
        size_hw: (height, width) px of a video's frames by its name, None = not known.
        fps: its frames per second, None = not known.
        first_frame: the number that files give the first frame.
        every_s: seconds from keyframe to keyframe of tracks, None = every frame.
        video_id: the video of files that name none.
        attributes: the attributes that say actions; empty = those whose names or values tell.
        numbers: what whole numbers in the names of pictures are.
    """

    size_hw: Callable[[str], tuple[int, int] | None] = lambda video_id: None
    fps: Callable[[str], float | None] = lambda video_id: None
    first_frame: int = 0
    every_s: float | None = None
    video_id: str | None = None
    attributes: tuple[str, ...] = ()
    numbers: Numbers = "frames"

    def known_size_hw(self, video_id: str) -> tuple[int, int]:
        """(height, width) px.

        Raises:
            Misfit: if it is not known.
        """
        size_hw = self.size_hw(video_id)
        if size_hw is None:
            raise Unsaid(f"boxes of {video_id} are pixels of frames of unknown size; add --size WxH or --videos DIR")
        return size_hw

    def time_s(self, video_id: str, frame: int) -> float:
        """Seconds of a frame.

        Raises:
            Misfit: if the rate is not known, or the frame is before the first.
        """
        fps = self.fps(video_id)
        if fps is None:
            raise Unsaid(f"the file counts frames of {video_id}; to make seconds of them add --fps N or --videos DIR")
        if frame < self.first_frame:
            raise Misfit(f"frame {frame} is before the first one, {self.first_frame} (--first-frame)")
        return (frame - self.first_frame) / fps

    def keyframe_of_picture(self, name: str) -> tuple[str, float]:
        """Video and seconds of a picture's name, by its folder, its name and the number at its end.

        VIDEO/000031.png, VIDEO/frame_000031.png, VIDEO_31.jpg, frames/VIDEO_31.jpg; A/B_31.jpg is video A/B. Numbers
        with a decimal point are seconds, whole ones those of frames, unless `numbers` says otherwise.

        Raises:
            Misfit: if the name does not tell, or frames cannot be made seconds.
        """
        path = PurePosixPath(name.replace("\\", "/"))
        folder, stem = path.parent.name, path.stem if path.suffix[1:].isalpha() else path.name
        match = _NUMBERED.fullmatch(stem)
        if match is None or len(match[2].partition(".")[0]) > _MOST_DIGITS:
            raise Misfit(f"a picture is called {short(name)}; expected VIDEO/NUMBER.jpg or VIDEO_NUMBER.jpg")
        video_id, number = self.video_id or _video_of_picture(unquote(folder), unquote(match[1])), match[2]
        if not video_id:
            raise Unsaid("names of pictures do not tell the video; add --video NAME, or put them into its folder")
        if "." in number or self.numbers == "seconds":
            return video_id, float(number)
        if self.fps(video_id) is None:
            raise Unsaid(
                f"pictures of {video_id} have numbers of frames in their names; to make seconds of them add --fps N or "
                "--videos DIR; if they are seconds, add --numbers seconds"
            )
        return video_id, self.time_s(video_id, int(number))


def _video_of_picture(folder: str, own: str) -> str:
    """The video that a picture's folder and the part of its name before the number mean, "" if they tell nothing."""
    own = _WORD.sub("", own)
    if own and own.lower() not in _ANY_PICTURE and own != folder:
        return video_name(own if folder.lower() in ("", *_ANY_FOLDER) else f"{folder}/{own}")
    return video_name(folder) if folder and folder.lower() not in _ANY_FOLDER else ""


def video_name(text: str) -> str:
    """A video's name as a data set may have it: without the suffix of a video, of an absolute path the last part.

    Raises:
        Misfit: if it would lead out of the data set's folder, or is none.
    """
    name = text.replace("\\", "/").strip()
    name = name.rpartition("/")[2] if _DRIVE.match(name) else name
    path = PurePosixPath(name)
    if ".." in path.parts or not path.name:
        raise Misfit(f"its video is {short(text)}, expected a name that stays inside the folder of videos")
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        raise Misfit(f"its video is {json.dumps(text)}, expected a name that UTF-8 can write")
    return str(path.with_suffix("")) if path.suffix.lower() in VIDEO_SUFFIXES else str(path)


def short(value: Any) -> str:
    """A JSON value for a message, cut if long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
