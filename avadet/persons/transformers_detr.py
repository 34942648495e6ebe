"""People from the object detectors of Hugging Face's transformers: RT-DETR, RT-DETRv2, D-FINE, RF-DETR and others.

A model is a name on the Hugging Face hub or a local folder with config.json, preprocessor_config.json and weights.
Everything that the model needs to know (size, normalisation, meaning of its outputs) is in those files, so the
library's own image processor prepares the picture and reads the answer. Code that a repository may carry is never run
(`trust_remote_code=False`), and weights are read from safetensors, or with torch's reader that runs nothing.

References: Zhao et al. 2023 (RT-DETR), Lv et al. 2024 (RT-DETRv2), Peng et al. 2024 (D-FINE), Robinson et al. 2025
(RF-DETR).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from avadet.errors import AvadetError
from avadet.persons.postprocess import postprocess
from avadet.progress import is_shown
from avadet.types import PersonBoxes, UInt8Array

INSTALL = 'pip install "avadet[transformers]"'
PERSON = "person"
FAILURES = (OSError, ValueError, ImportError, RuntimeError, KeyError, TypeError)
"""What the library raises for repositories that are absent, incomplete or of another kind."""


class TransformersDetector:
    """An object detector of transformers as a `PersonDetector`.

    Attributes:
        name: the hub's name or the folder.
        model: the network, in eval mode, on `device`.
        threshold: lowest person score that is returned, 0-1.
        person_class: the model's class of "person".
    """

    def __init__(self, name: str, device: str | torch.device = "cpu", threshold: float | None = None) -> None:
        """Load the model; one that is neither a folder nor in the library's cache is downloaded.

        Args:
            name: the hub's name, such as "PekingU/rtdetr_v2_r50vd", or a local folder.
            device: where to run it.
            threshold: lowest person score, 0-1; None = 0.5.

        Raises:
            AvadetError: if transformers is absent, the model cannot be had or is no detector, or it has no person.
        """
        self.name, self.threshold = name, 0.5 if threshold is None else threshold
        self._processor, model = _load(name)
        self.person_class = _person_class(name, model.config)
        self._device = torch.device(device)
        self.model: torch.nn.Module = model.to(self._device).eval()

    @torch.inference_mode()
    def __call__(self, frame: UInt8Array) -> PersonBoxes:
        """Find the people in one frame.

        Args:
            frame: uint8 (H, W, 3) RGB.

        Returns:
            people in pixels of `frame`, best first.
        """
        inputs = self._processor(images=frame, input_data_format="channels_last", return_tensors="pt")
        outputs = self.model(**inputs.to(self._device))
        found = self._processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=[frame.shape[:2]])[0]
        person = found["labels"] == self.person_class
        boxes_px, scores = found["boxes"][person].float().cpu().numpy(), found["scores"][person].float().cpu().numpy()
        return postprocess(boxes_px, scores, frame.shape[:2], self.threshold)


def _load(name: str) -> tuple[Any, Any]:
    """Image processor and model; from the folder or the library's cache if they are there, else from the hub."""
    try:
        import transformers
    except ImportError as error:
        raise AvadetError(f"{name} needs transformers, which is not installed; {INSTALL}") from error
    try:
        if Path(name).is_dir():
            return _load_from(transformers, name, local=True)
        try:
            return _load_from(transformers, name, local=True)
        except OSError:
            return _load_from(transformers, name, local=False)
    except FAILURES as error:
        raise _not_loaded(name, error) from error


def _load_from(transformers: Any, name: str, local: bool) -> tuple[Any, Any]:
    """Image processor and model; `local` = without the network."""
    if not is_shown():
        transformers.utils.logging.disable_progress_bar()
    options = {"local_files_only": local, "trust_remote_code": False}
    processor = transformers.AutoImageProcessor.from_pretrained(name, **options)
    if not hasattr(processor, "post_process_object_detection"):
        raise ValueError(f"its {type(processor).__name__} does not read detections")
    model, report = transformers.AutoModelForObjectDetection.from_pretrained(name, output_loading_info=True, **options)
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise ValueError(f"its weights lack {len(missing)} parameters of the model, the first {missing[0]}")
    return processor, model


def _not_loaded(name: str, error: Exception) -> AvadetError:
    """The error for a model that cannot be had, with the way out."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    if Path(name).is_dir():
        wanted = "expected config.json, preprocessor_config.json and model.safetensors of an object detector"
        return AvadetError(f"{name}: transformers cannot load it: {reason}; {wanted}")
    return AvadetError(
        f"transformers cannot load '{name}': {reason}; without a network, fetch config.json, preprocessor_config.json "
        f"and model.safetensors of https://huggingface.co/{name} into a folder and give that: transformers:FOLDER"
    )


def _person_class(name: str, config: Any) -> int:
    """The class that the model calls "person".

    Raises:
        AvadetError: if there is none.
    """
    labels = {int(index): str(label) for index, label in config.id2label.items()}
    for index, label in sorted(labels.items()):
        if label.strip().lower() == PERSON:
            return index
    known = ", ".join(label for _, label in sorted(labels.items())[:10])
    raise AvadetError(
        f"{name}: none of its {len(labels)} classes is called '{PERSON}'; its config.json has {known}"
        f"{', ...' if len(labels) > 10 else ''}; set id2label there if one of them is"
    )
