"""One tree of parameters: every number once, with its unit and meaning. A profile holds only differences."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from spineseg import limits, overriding
from spineseg.profiles import PROFILES


@dataclass(frozen=True)
class CohortConfig:
    """Which scans. A phantom cohort is made on first use; the other layouts are read from `folder`."""

    layout: str = "phantom"  # or auto, kaggle, totalsegmentator, verse, nnunet, pairs, ct
    folder: str = ""  # absolute, or relative to data/raw; empty: phantom-<profile>
    scheme: str = ""  # of the segmentations' labels, such as verse or "26=S1 27=L5"; empty: the layout's own
    train: int = 96  # phantoms; for real data the share of cases below is used instead
    validation: int = 8
    test: int = 20
    neck_share: float = 0.0  # of phantoms whose view must hold C3; the others' views are drawn as in the population
    bone_only_share: float = 0.0  # of training phantoms that are set to 0 HU outside bone; the others by chance
    spread: float = 1.0  # of what differs between phantoms' scans, tissues and noise; 0: the middle of each range
    train_share: float = 0.8
    validation_share: float = 0.05
    official_split: bool = True  # of real data, where the publisher made one
    pseudonyms: bool = True  # of cases read from a folder: no report shows a file's name; `spineseg who` tells it
    seed: int = 20261201  # of phantom case 0; the split of real data is drawn from it too
    spacing_mm: float = 3.0  # voxel size that phantoms are scanned at (some anisotropic about it)


@dataclass(frozen=True)
class ClusterConfig:
    """Who makes, prepares and scores cases."""

    workers: int = 2  # processes of this machine
    scheduler: str = ""  # address of a dask scheduler whose workers are used instead; empty: this machine
    case_timeout_s: float = 900.0  # a case that takes longer is given up, its worker process ended and replaced
    deaths_per_case: int = 3  # a case that ends its worker process this often is given up
    makers: int = 1  # processes that make endless phantoms beside a training
    cutters: int = 0  # threads that cut training items ahead of the step; 0: the step cuts its own, best on few cores


@dataclass(frozen=True)
class PreparationConfig:
    """From a scan to the network's grid: RAS+ axes, isotropic voxels, one HU window."""

    spacing_mm: float = 3.0  # fine grid
    coarse_spacing_mm: float = 12.0  # grid of the coarse stage, which sees the whole scan
    window_low_hu: float = -500.0  # maps to 0
    window_high_hu: float = 1300.0  # maps to 1
    centre_hu: float = 40.0  # muscle; a network sees HU less this ...
    unit_hu: float = 300.0  # ... in units of this, so that tissues differ by about 1


@dataclass(frozen=True)
class NetworkConfig:
    """A network: a V-Net, or one of MONAI's in its place."""

    architecture: str = "vnet"  # or unet, resunet, attention, hybrid, swin; these need the extra `architectures`
    channels: tuple[int, ...] = (16, 32, 64, 128, 256)  # per level, top to bottom
    # per level on the way down; the way up mirrors them. MONAI's blocks have 2; hybrid: the last counts transformer
    # blocks, swin: all but first and last do
    convolutions: tuple[int, ...] = (1, 2, 3, 3, 3)
    kernel: int = 3  # voxels; 5 in the paper
    norm: str = "group"  # none (the paper), group, or instance (not on a grid that shrinks to one voxel)
    residual: bool = True  # of a V-Net: stage input added to stage output


@dataclass(frozen=True)
class StageConfig:
    """How one network of a method is trained."""

    network: NetworkConfig = NetworkConfig()
    patch: tuple[int, int, int] = (64, 64, 64)  # voxels; the coarse stage pads the whole scan to multiples of its own
    batch: int = 2  # patches per step
    steps_per_epoch: int = 8
    learning_rate: float = 2e-3  # peak of the cosine
    loss: str = "dice_ce_binary"  # or dice_ce, dice (the paper's); others to compare with are listed in `limits.LOSSES`
    naming_weight: float = 1.0  # of the cross-entropy among names (fine: phases) over vertebra voxels; with a dice_ce
    deep_supervision: int = 0  # levels of the decoder below full resolution that are judged too; of the fine stage
    foreground_share: float = 0.9  # patches centred on a vertebra voxel, classes drawn evenly, or on other bone
    others_share: float = 0.0  # patches centred on other bone or contrast medium, within the share above
    narrowed_share: float = 0.0  # items whose coarse scan is shown through a smaller field of view
    second_look_share: float = 0.0  # narrowed patches guided by what a first look may have found; of the fine stage
    altered_share: float = 0.0  # items of the coarse stage whose surroundings are hidden, faint or moved
    phantom_uses: int = 0  # items from each phantom that is made while training goes on; 0: the cohort's cases instead
    phantoms_together: int = 12  # that items are drawn from at one time; as many again are being made


@dataclass(frozen=True)
class GuidanceConfig:
    """What passes between the stages."""

    limit: float = 4.0  # largest coarse log-odds of vertebra against background, either way; the same for the phases


@dataclass(frozen=True)
class TrainingConfig:
    """What the stages share."""

    epochs: int = 40
    optimizer: str = "muon"  # for kernels, with AdamW for biases, norms and slopes; or adamw for all
    weight_decay: float = 1e-4  # decoupled
    warmup_share: float = 0.05  # of all steps, linear
    ema_decay: float = 0.98  # weights of evaluation are an exponential moving average
    gradient_clip: float = 12.0  # norm; a few times the usual one, so that only outliers are cut
    validate_every: int = 5  # epochs; the last one always
    patience: int = 0  # validations without a lower loss after which a network is trained no further; 0: never
    validation_patches: int = 3  # per validation case, the same at every epoch
    precision: str = "auto"  # auto (a timed probe decides), fp32 or bf16
    recompute: bool = False  # each stage of a V-Net a second time on the way back: less memory, more time
    seed: int = 0
    start: str = ""  # weights of coarse and fine stage to begin with: empty for random ones, or boxed
    turned_share: float = 0.3  # patches that are turned and zoomed; the others are read voxel by voxel
    rotation_degrees: float = 8.0  # augmentation, largest angle about each axis
    scale_share: float = 0.12  # augmentation, largest relative zoom
    contrast_share: float = 0.12  # augmentation, largest relative gain; a quarter of it as the largest offset
    gamma: float = 0.2  # augmentation, largest logarithm of the exponent
    blur_share: float = 0.2  # augmentation, items that are smoothed
    looks_share: float = 0.0  # augmentation, items whose tissues get other grey values and textures
    thick_share: float = 0.0  # augmentation, patches that look as if from thick slices
    noise: float = 0.02  # augmentation, largest standard deviation in window units


@dataclass(frozen=True)
class InferenceConfig:
    """Whole scans in bounded memory."""

    patch: tuple[int, int, int] = (96, 96, 96)  # voxels of the fine window
    overlap_share: float = 0.25  # of the window
    part_share: float = 0.1  # of the largest connected part of the coarse spine; smaller ones are not looked at
    margin_mm: float = 18.0  # around the coarse spine, fine windows cover it
    naming: str = "order"  # or alone (vertebra by vertebra), phase (voxel by voxel), own (and without phases)
    looks: int = 2  # of the fine stage; each after the first is guided by the vertebrae found before it
    smallest_ml: float = 0.5  # pieces below are dropped ...
    smallest_at_edge_ml: float = 0.05  # ... but at the edge of the scan, which cuts vertebrae, only those below this
    sure: float = 0.6  # confidence in a vertebra below which a person should look at it


@dataclass(frozen=True)
class OrderConfig:
    """How the vertebrae of a scan are named as one sequence."""

    evidence_weight: float = 1.0  # of a vertebra's mean log-probabilities
    temperature: float = 1.5  # by which all that speaks for a sequence is divided before confidence is taken from it
    spacing_spread: float = 0.3  # standard deviation of the logarithm of distance / expected distance
    missed_chance: float = 0.03  # of a vertebra between two others not having been found
    false_chance: float = 0.03  # of a piece of up to 10 ml being no vertebra; less for larger ones
    variant_chance: float = 0.02  # of a T13 or L6, or of no T12


@dataclass(frozen=True)
class EvaluationConfig:
    """How label maps become numbers."""

    nsd_tolerance_mm: float = 3.0
    identification_radius_mm: float = 20.0  # VerSe
    sliver_share: float = 0.5  # a vertebra of which less is visible counts as cut
    bootstrap_draws: int = 1000  # over cases
    bootstrap_level: float = 0.95
    seed: int = 0


@dataclass(frozen=True)
class MorphometryConfig:
    """How vertebrae and discs are measured."""

    step_mm: float = 1.0  # lattice on which a vertebra is looked at
    low_density_hu: float = 90.25  # of the inner body, below which density counts as low; without contrast medium
    gas_hu: float = -150.0  # of a disc, below which a point counts as gas
    gas_share: float = 0.05  # of the inner disc, above which gas is reported
    touching_mm: float = 0.5  # height of a disc in the middle, below which its bodies are said to touch
    scoliosis_degrees: float = 10.0  # Cobb angle from which a curve is reported
    blank_share: float = 0.2  # of an inner body that is exactly 0 HU, above which a scan shows bone only


@dataclass(frozen=True)
class HealthConfig:
    """How the call from measurements to kinds of pathology is fitted."""

    trees: int = 60  # per kind
    depth: int = 3  # of each
    rate: float = 0.1  # by which each is added
    subsample: float = 0.7  # of the cases that each is fitted to
    least_leaf: int = 5  # cases
    folds: int = 5  # of patients, of which those left out straighten the probabilities
    least_cases: int = 15  # with and without a kind, below which it is not fitted
    specificity: float = 0.9  # at which misses are counted
    seed: int = 0


@dataclass(frozen=True)
class ReportConfig:
    """The book."""

    figure_width_in: float = 7.0
    figure_dpi: int = 110
    view_spacing_mm: float = 3.0  # of volumes embedded in a page


def _baseline() -> StageConfig:
    paper = NetworkConfig(kernel=5, norm="none")
    return StageConfig(network=paper, loss="dice", learning_rate=1e-3, patch=(128, 128, 64))


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on."""

    profile: str = "smoke"
    run: str = "smoke"
    cohort: CohortConfig = CohortConfig()
    cluster: ClusterConfig = ClusterConfig()
    preparation: PreparationConfig = PreparationConfig()
    baseline: StageConfig = field(default_factory=_baseline)
    # whole scans differ in size, so one at a time
    coarse: StageConfig = StageConfig(batch=1, learning_rate=4e-3, narrowed_share=0.2)
    fine: StageConfig = StageConfig(learning_rate=5e-3, naming_weight=0.3)
    guidance: GuidanceConfig = GuidanceConfig()
    training: TrainingConfig = TrainingConfig()
    inference: InferenceConfig = InferenceConfig()
    order: OrderConfig = OrderConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    morphometry: MorphometryConfig = MorphometryConfig()
    health: HealthConfig = HealthConfig()
    report: ReportConfig = ReportConfig()

    @classmethod
    def load(cls, profile: str = "smoke", run: str = "", epochs: int | None = None, **overrides: Any) -> Config:
        """Build the configuration of a profile.

        Args:
            profile: One of `PROFILES`.
            run: Name of the run folder; the profile's name when empty.
            epochs: Shorthand for the override `training.epochs`.
            **overrides: Dotted names and their values, such as `{"training.seed": 1}`.

        Returns:
            The frozen configuration.

        Raises:
            ValueError: If the profile or a name is unknown (the known ones are listed) or a value is impossible.
        """
        if profile not in PROFILES:
            raise ValueError(f"unknown profile {profile!r}; known: {', '.join(PROFILES)}")
        changes = PROFILES[profile] | overrides
        if epochs is not None:
            changes["training.epochs"] = epochs
        config = dataclasses.replace(cls(), profile=profile, run=run or profile)
        for name, value in changes.items():
            config = overriding.replaced(config, name, value)
        return config.checked()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Config:
        """Rebuild a configuration that `to_dict` wrote, of this version or an older one.

        What an older version did not have takes its default, which does what that version did; but cases that it read
        from a folder had the names of their files, and keep them, and what it trained was trained with AdamW.

        Raises:
            ValueError: If a name is unknown, or a value is impossible.
        """
        cohort = values.get("cohort", {})
        if "pseudonyms" not in cohort and cohort.get("layout", cls.cohort.layout) != "phantom":
            values = values | {"cohort": cohort | {"pseudonyms": False}}
        training = values.get("training", {})
        if "optimizer" not in training:
            values = values | {"training": training | {"optimizer": "adamw"}}
        return overriding.rebuilt(cls(), values).checked()

    def checked(self) -> Config:
        """The configuration itself, if every value is possible.

        Raises:
            ValueError: If one is not; the message names it, what is expected and what was found.
        """
        limits.check(self)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, ready for JSON."""
        return dataclasses.asdict(self)

    def hash(self, *sections: str) -> str:
        """Short sha256 over the named sections (all when none is named)."""
        values = self.to_dict()
        chosen = {name: values[name] for name in sections} if sections else values
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:12]
