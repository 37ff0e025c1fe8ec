"""Which values of a configuration are possible; each refusal names the value, what is expected and what was found."""

from __future__ import annotations

from pathlib import Path

from spineseg.anatomy.labels import Scheme, parse_scheme

ARCHITECTURES = ("vnet", "unet", "resunet", "attention", "hybrid", "swin")
LOSSES = (
    "dice_ce_binary", "dice_ce", "dice", "logistic", "logistic_weighted", "generalised_dice", "tversky", "focal"
)  # fmt: skip
OPTIMIZERS = ("muon", "adamw")
LAYOUTS = ("phantom", "auto", "kaggle", "totalsegmentator", "verse", "nnunet", "pairs", "ct", "labels")


def check(config) -> None:
    """Refuse impossible values.

    Args:
        config: A `spineseg.config.Config`.

    Raises:
        ValueError: If a value is impossible.
    """

    def need(ok: bool, name: str, expected: str, found) -> None:
        if not ok:
            raise ValueError(f"parameter {name!r} must be {expected}, got {found!r}")

    t = config.training
    need(t.epochs >= 1, "training.epochs", "1 or more", t.epochs)
    need(t.validate_every >= 1, "training.validate_every", "1 or more", t.validate_every)
    need(t.patience >= 0, "training.patience", "0 or more", t.patience)
    need(0 <= t.ema_decay < 1, "training.ema_decay", "in [0, 1)", t.ema_decay)
    plain = bool(config.run) and Path(config.run).name == config.run and not config.run.startswith(".")
    need(plain, "run", "a plain folder name", config.run)
    deepest = max(len(config.baseline.network.channels), len(config.fine.network.channels)) - 1
    fits = all(p > 0 and p % 2**deepest == 0 for p in config.inference.patch)
    need(fits, "inference.patch", f"multiples of {2**deepest} voxels", config.inference.patch)
    need(t.optimizer in OPTIMIZERS, "training.optimizer", f"one of {', '.join(OPTIMIZERS)}", t.optimizer)
    need(t.precision in ("auto", "fp32", "bf16"), "training.precision", "auto, fp32 or bf16", t.precision)
    need(config.cohort.layout in LAYOUTS, "cohort.layout", f"one of {', '.join(LAYOUTS)}", config.cohort.layout)
    try:
        parse_scheme(config.cohort.scheme or Scheme.SPINESEG.value)
    except ValueError as error:
        raise ValueError(f"parameter 'cohort.scheme': {error}") from None
    c = config.cluster
    need(c.workers >= 1, "cluster.workers", "1 or more", c.workers)
    need(c.makers >= 1, "cluster.makers", "1 or more", c.makers)
    need(c.cutters >= 0, "cluster.cutters", "0 or more", c.cutters)
    need(c.case_timeout_s > 0, "cluster.case_timeout_s", "above 0 s", c.case_timeout_s)
    need(c.deaths_per_case >= 1, "cluster.deaths_per_case", "1 or more", c.deaths_per_case)
    need(not c.scheduler or ":" in c.scheduler, "cluster.scheduler", "an address such as tcp://host:8786", c.scheduler)
    for share in ("neck_share", "bone_only_share"):
        value = getattr(config.cohort, share)
        need(0 <= value <= 1, f"cohort.{share}", "in [0, 1]", value)
    for name in ("cohort.spacing_mm", "preparation.spacing_mm", "preparation.coarse_spacing_mm"):
        section, key = name.split(".")
        value = getattr(getattr(config, section), key)
        need(0.2 <= value <= 30, name, "between 0.2 and 30 mm", value)
    need(0 <= config.cohort.spread <= 3, "cohort.spread", "between 0 and 3", config.cohort.spread)
    need(config.preparation.unit_hu > 0, "preparation.unit_hu", "above 0", config.preparation.unit_hu)
    need(t.start in ("", "boxed"), "training.start", "empty or boxed", t.start)
    need(0 <= t.turned_share <= 1, "training.turned_share", "in [0, 1]", t.turned_share)
    need(0 <= t.looks_share <= 1, "training.looks_share", "in [0, 1]", t.looks_share)
    need(0 <= t.thick_share <= 1, "training.thick_share", "in [0, 1]", t.thick_share)
    need(config.guidance.limit > 0, "guidance.limit", "above 0", config.guidance.limit)
    o = config.order
    for chance in ("missed_chance", "false_chance", "variant_chance"):
        need(0 < getattr(o, chance) < 1, f"order.{chance}", "between 0 and 1", getattr(o, chance))
    need(o.spacing_spread > 0, "order.spacing_spread", "above 0", o.spacing_spread)
    need(o.evidence_weight > 0, "order.evidence_weight", "above 0", o.evidence_weight)
    need(o.temperature > 0, "order.temperature", "above 0", o.temperature)
    window = (config.preparation.window_low_hu, config.preparation.window_high_hu)
    need(window[0] < window[1], "preparation.window_low_hu", "below window_high_hu", window)
    kinds = ("order", "alone", "phase", "own")
    need(config.inference.naming in kinds, "inference.naming", f"one of {', '.join(kinds)}", config.inference.naming)
    need(config.inference.looks >= 1, "inference.looks", "1 or more", config.inference.looks)
    part = config.inference.part_share
    need(0 <= part <= 1, "inference.part_share", "in [0, 1]", part)
    overlap = config.inference.overlap_share
    need(0 <= overlap < 1, "inference.overlap_share", "in [0, 1)", overlap)
    need(config.coarse.batch == 1, "coarse.batch", "1, since whole scans differ in size", config.coarse.batch)
    for stage in ("baseline", "coarse", "fine"):
        s = getattr(config, stage)
        multiple = 2 ** (len(s.network.channels) - 1)
        norms = ("none", "instance", "group")
        need(s.network.kernel in (3, 5), f"{stage}.network.kernel", "3 or 5", s.network.kernel)
        need(s.network.norm in norms, f"{stage}.network.norm", f"one of {', '.join(norms)}", s.network.norm)
        need(s.loss in LOSSES, f"{stage}.loss", f"one of {', '.join(LOSSES)}", s.loss)
        need(
            all(p > 0 and p % multiple == 0 for p in s.patch),
            f"{stage}.patch",
            f"multiples of {multiple} voxels",
            s.patch,
        )
        averaged = s.network.norm != "instance" or max(s.patch) > multiple
        need(averaged, f"{stage}.patch", "wider than one voxel at the deepest level for instance norm", s.patch)
        same = len(s.network.convolutions) == len(s.network.channels)
        need(same, f"{stage}.network.convolutions", "as many as channels", s.network.convolutions)
        _check_network(s.network, f"{stage}.network", need)
        need(s.batch >= 1 and s.steps_per_epoch >= 1, f"{stage}.batch", "1 or more", (s.batch, s.steps_per_epoch))
        need(0 <= s.narrowed_share <= 1, f"{stage}.narrowed_share", "in [0, 1]", s.narrowed_share)
        altered = 0 <= s.altered_share <= (stage == "coarse")
        need(altered, f"{stage}.altered_share", "in [0, 1], and 0 but for the coarse stage", s.altered_share)
        again = 0 <= s.second_look_share <= (stage == "fine")
        need(again, f"{stage}.second_look_share", "in [0, 1], and 0 but for the fine stage", s.second_look_share)
        shares = 0 <= s.others_share <= s.foreground_share <= 1
        need(
            shares,
            f"{stage}.others_share",
            "at least 0 and at most foreground_share, and that at most 1",
            (s.others_share, s.foreground_share),
        )
        levels = len(s.network.channels) - 2 if stage == "fine" and s.network.architecture == "vnet" else 0
        deep = 0 <= s.deep_supervision <= levels
        need(deep, f"{stage}.deep_supervision", f"from 0 to {levels}", s.deep_supervision)
        need(s.phantoms_together >= 1, f"{stage}.phantoms_together", "1 or more", s.phantoms_together)
        endless = s.phantom_uses == 0 or (s.phantom_uses > 0 and config.cohort.layout == "phantom")
        need(endless, f"{stage}.phantom_uses", "0 or more, and 0 unless the layout is phantom", s.phantom_uses)


def _check_network(network, name: str, need) -> None:
    """Refuse a shape that the named architecture does not come in."""
    kind, channels, counts = network.architecture, network.channels, network.convolutions
    need(kind in ARCHITECTURES, f"{name}.architecture", f"one of {', '.join(ARCHITECTURES)}", kind)
    if kind == "swin":
        first = channels[0]
        widths = tuple(first * k for k in (1, 1, 2, 4, 8, 16))
        fits = channels == widths and first % 12 == 0
        need(fits, f"{name}.channels", "12 times 1, 1, 2, 4, 8, 16, or a multiple of it, for swin", channels)
        need(counts[0] == counts[-1] == 2, f"{name}.convolutions", "2 at the first and the last level for swin", counts)
        need(network.kernel == 3, f"{name}.kernel", "3 for swin", network.kernel)
    elif kind != "vnet":
        own = counts[:-1] if kind == "hybrid" else counts  # the last are a hybrid's transformer blocks
        need(set(own) == {2} and counts[-1] >= 1, f"{name}.convolutions", f"2 at each level for {kind}", counts)
