"""The training loop of the person detector."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import torch
from tool_checkpoint import load_checkpoint, save_checkpoint
from torch import Tensor, nn

from avadet.failures import WaysOut, explained
from avadet.files import check_target
from avadet.models.backbones.efficientnet_lite import EfficientNetLite, load_imagenet
from avadet.models.checkpoints.torch_file import read_safetensors
from avadet.models.checkpoints.weights import save_model
from avadet.models.devices import choose_device
from avadet.models.engines.folding import fold_norms
from avadet.persons.person_net import PersonNet
from avadet.persons.person_weights import fill, load_person_net
from avadet.persons.tiny import TinyPersons
from avadet.schema import dump_config
from avadet.training.logs import RunFolder, describe_machine
from avadet.training.optim import WeightAverage, build_optimizer, lr_factor, param_groups, set_lr
from person_training.config import PersonsConfig
from person_training.frames import FramePack
from person_training.loss import PersonLoss, Targets, person_loss
from person_training.packs import Packs
from person_training.picture_scores import score_pictures
from person_training.samples import FrameDraw, PersonSamples, Recipe, person_loader

TRUNK = "efficientnet_lite0"
PRIOR = 0.01  # what every cell's score begins with, so that the many empty cells do not swamp the first steps
Report = Callable[[str], None]
LOG_EVERY = 50
UNCHOSEN_THRESHOLD = 0.4
SCORE_FLOOR = 0.05
WAYS_OUT = WaysOut("a smaller train.batch_size needs less", "train.workers")
FALSE_A_PICTURE = (
    0.4  # false boxes that the chosen threshold may show on pictures kept aside; videos of daily life have fewer
)


class PersonTrainer:
    """One training run: net, optimizer, running average, and the folder it writes to."""

    def __init__(self, config: PersonsConfig, packs: Packs) -> None:
        """Build everything; the weights start as `config.init` says."""
        torch.manual_seed(config.seed)
        if config.train.threads:
            torch.set_num_threads(config.train.threads)
        self.config = config
        self.device = choose_device(config.device)
        self.net = start_net(config).to(self.device).to(memory_format=torch.channels_last)
        cfg = config.train
        self.frozen = FrozenStart(self.net.backbone, cfg.frozen_stages, self.device)
        groups = param_groups(self.net, cfg.lr, cfg.backbone_lr_factor, cfg.weight_decay)
        self.optimizer = build_optimizer("adamw", groups, momentum=0.0)
        self.average = WeightAverage(self.net, cfg.ema_decay)
        self.folder = RunFolder(config.run_dir)
        check_target(self.folder.checkpoint)
        draw = FrameDraw(list(packs.training.values()), list(packs.shares.values()))
        recipe = Recipe(**config.augment.model_dump())
        self.samples = PersonSamples(draw, recipe, config.seed, cfg.steps, cfg.batch_size)
        self.validation = packs.validation

    def run(self, resume: bool = False, report: Report = print) -> Path:
        """Train to the end.

        Args:
            resume: go on from the last checkpoint of the run folder.
            report: gets a line now and then.

        Returns:
            the file of the trained weights.

        Raises:
            AvadetError: if there is nothing to resume, or it is of another config; if the machine refuses memory,
                processes or room on the disk.
        """
        config = self.config
        with explained(WAYS_OUT):
            self._learn(self._begin(resume), report)
            threshold = choose_threshold(self.average.model, config, self.validation)
            report(f"threshold {threshold:.2f}: {FALSE_A_PICTURE} false boxes a picture at most, on sources kept aside")
            self._save(config.train.steps, threshold)
        return self.folder.model

    def _learn(self, first: int, report: Report) -> None:
        """Take the steps from one on."""
        cfg, began = self.config.train, time.monotonic()
        size = cfg.batch_size
        keys = [range(step * size, (step + 1) * size) for step in range(first, cfg.steps)]
        with closing(person_loader(self.samples, cfg.workers)) as loader:
            for step, (images, targets) in enumerate(loader.batches(keys), start=first):
                loss = self.step(step, images, targets)
                if (step + 1) % LOG_EVERY == 0:
                    pace = (time.monotonic() - began) / (step + 1 - first)
                    self._log(step + 1, loss, pace, report)
                if (step + 1) % cfg.save_every == 0:
                    self._save(step + 1)

    def step(self, step: int, images: Tensor, targets: Targets) -> PersonLoss:
        """Learn from one batch of uint8 pictures."""
        cfg = self.config.train
        factor = lr_factor(
            step, epochs=cfg.steps, kind="cosine", warmup_epochs=cfg.warmup_steps, final_factor=cfg.final_factor
        )
        set_lr(self.optimizer, factor)
        self.net.train()
        pixels = images.to(self.device, non_blocking=True).float().div_(255)
        maps = self.frozen.maps(pixels.contiguous(memory_format=torch.channels_last), self.net.backbone)
        loss = person_loss(self.net.answer(maps[-3:], pixels.shape[2:]), targets.to(self.device))
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), cfg.grad_clip)
        self.optimizer.step()
        self.average.update(self.net)
        return loss

    def _begin(self, resume: bool) -> int:
        """Prepare the run folder; the number of steps already done."""
        text = dump_config(self.config)
        if not resume:
            self.folder.start(text)
            return 0
        done = load_checkpoint(self.folder.checkpoint, self.net, self.optimizer, self.average, text)
        self.folder.resume(done)
        return done

    def _log(self, step: int, loss: PersonLoss, pace_s: float, report: Report) -> None:
        values = {"epoch": step, "loss": loss.total.item(), "score": loss.score.item(), "box": loss.box.item()}
        self.folder.log({**values, "seconds_a_step": round(pace_s, 4)})
        left = (self.config.train.steps - step) * pace_s / 60
        report(f"step {step}/{self.config.train.steps}  loss {values['loss']:.3f}  {left:.1f} min left")

    def _save(self, step: int, threshold: float = UNCHOSEN_THRESHOLD) -> None:
        """Write a checkpoint and the averaged weights as they are now."""
        text = dump_config(self.config)
        save_checkpoint(self.folder.checkpoint, self.net, self.optimizer, self.average, step, text)
        save_model(self.folder.model, self.average.model, person_card(self.config, step, threshold), half=True)


class FrozenStart:
    """The stem and the first stages of a trunk that stay as they begin, as a copy made fast.

    Norms are folded into the kernels, which are in bfloat16 on the CPU, where that takes a quarter of the time.
    """

    def __init__(self, trunk: EfficientNetLite, stages: int, device: torch.device) -> None:
        """Freeze the trunk's own parts and copy them; `stages` 0 = nothing is frozen."""
        self._stages = stages
        for part in [trunk.stem, *trunk.stages[:stages]] if stages else []:
            part.requires_grad_(False)
        copied = copy.deepcopy(trunk).eval()
        fold_norms(copied, torch.linspace(0, 1, 3 * 64**2).view(1, 3, 64, 64).to(next(trunk.parameters()).device))
        self._dtype = torch.bfloat16 if device.type == "cpu" else torch.float32
        self._copy = copied.requires_grad_(False).to(device, self._dtype, memory_format=torch.channels_last)

    def maps(self, pixels: Tensor, trunk: EfficientNetLite) -> list[Tensor]:
        """The trunk's maps of float pixels (N, 3, H, W) 0-1, with gradients for the stages that are not frozen."""
        if not self._stages:
            return trunk(pixels)
        with torch.no_grad():
            begun = self._copy.begin(pixels.to(self._dtype), self._stages).float()
        return trunk.later_maps(begun, self._stages)


def choose_threshold(net: PersonNet, config: PersonsConfig, validation: Mapping[str, FramePack]) -> float:
    """The lowest threshold with at most `FALSE_A_PICTURE` false boxes a picture on frames kept aside.

    `UNCHOSEN_THRESHOLD` if there are no such frames.
    """
    packs = [pack for pack in validation.values() if len(pack)]
    if not packs:
        return UNCHOSEN_THRESHOLD
    detector = TinyPersons.from_net(net, config.long_side, SCORE_FLOOR, config.mirror)
    found = [detector(pack[i].image) for pack in packs for i in range(len(pack))]
    labels = [pack.people(i) for pack in packs for i in range(len(pack))]
    return score_pictures(found, labels).threshold_for(FALSE_A_PICTURE)


def choose_again(config: PersonsConfig, weights: Path, validation: Mapping[str, FramePack]) -> float:
    """Choose the threshold of trained weights anew, for the config's long side, and write both into their card."""
    net, card = load_person_net(weights)
    threshold = choose_threshold(net, config, validation)
    card |= {"threshold": threshold, "long_side": config.long_side, "mirror": config.mirror}
    save_model(weights, net, card, half=True)
    return threshold


def person_card(config: PersonsConfig, step: int, threshold: float) -> dict[str, object]:
    """The card of a trained detector: what `TinyPersons` needs, and how it came about."""
    return {
        "format": 1,
        "name": "tiny_persons",
        "architecture": "person_net",
        "arguments": {"width": config.width, "backbone": TRUNK},
        "threshold": threshold,
        "long_side": config.long_side,
        "mirror": config.mirror,
        "training": {"steps": step, "seed": config.seed, **describe_machine()},
    }


def start_net(config: PersonsConfig) -> PersonNet:
    """A net with random weights, an ImageNet trunk (.pth), or everything from an earlier run (.safetensors)."""
    net = PersonNet(config.width, TRUNK)
    for head in net.head.heads:
        nn.init.constant_(head.score[-1].bias, math.log(PRIOR / (1 - PRIOR)))
        nn.init.constant_(head.sides[-1].bias, 1.0)
    if config.init is not None and config.init.suffix == ".safetensors":
        fill(net, config.init)
    elif config.init is not None:
        load_imagenet(net.backbone, config.init)
    if config.init_head is not None:
        own = net.head.state_dict()
        given = {name.removeprefix("head."): value for name, value in read_safetensors(config.init_head).items()}
        fitting = {name: value for name, value in own.items() if name in given and given[name].shape == value.shape}
        net.head.load_state_dict({**own, **{name: given[name].to(own[name].dtype) for name in fitting}})
    return net
