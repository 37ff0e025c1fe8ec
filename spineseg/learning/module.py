"""One network in training, as a Lightning module: the step, the moving average, the checkpoint of each epoch."""

from __future__ import annotations

import math
import time
import warnings
from pathlib import Path

import lightning as L
import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from spineseg.anatomy.labels import REGIONS
from spineseg.config import Config
from spineseg.errors import Interrupted, OutOfMemory
from spineseg.learning import checkpoints, runs
from spineseg.learning.boxed import start_from
from spineseg.learning.cascade import STAGES, build
from spineseg.learning.cost import remedy
from spineseg.learning.loading import Batches
from spineseg.learning.muon import make_optimizer
from spineseg.learning.precision import faster_precision
from spineseg.learning.repeatable import repeatable
from spineseg.learning.runs import append_rows
from spineseg.learning.sampling import collate
from spineseg.learning.schedule import MovingAverage, learning_rate
from spineseg.learning.stopping import StopAsked
from spineseg.learning.tasks import Naming, Outlining
from spineseg.learning.together import Group
from spineseg.learning.validation import Tally

VALIDATION_COLUMNS = (
    "validation_loss",
    *(f"dice_{region}" for region in REGIONS),
    "dice_mean",
    "dice_binary",
    "identification",
)


class NetworkTraining(L.LightningModule):
    """Train one network of a run.

    Args:
        config: The run's configuration.
        name: `baseline`, `coarse` or `fine`.
        folder: The run's folder.
        items: Training items; their `epoch` is set before each epoch.
        validation: Validation items.
        coarse: The trained coarse network, for the fine stage.
        coarse_hash: sha256 of its checkpoint.
        group: The processes that train it together: all validate, alike, and the first one writes.
    """

    def __init__(
        self, config: Config, name: str, folder: Path, items, validation: Dataset, coarse=None, coarse_hash="",
        group: Group | None = None,
    ):  # fmt: skip
        super().__init__()
        self.automatic_optimization = False
        self.config, self.name, self.folder, self.group = config, name, folder, group or Group()
        self.stage = getattr(config, name)
        torch.manual_seed(config.training.seed)
        self.network = build(config, name)
        self.network.recompute = config.training.recompute
        self.average = MovingAverage(self.network, config.training.ema_decay)
        self.optimizer = make_optimizer(config.training.optimizer, self.network, config.training.weight_decay)
        self.task = Naming(self.stage) if coarse is None else Outlining(config, coarse)
        self.items, self.validation = items, validation
        self.done_epochs, self.done_steps, self.skipped, self.best, self.seconds = 0, 0, 0, -1.0, 0.0
        self.lowest, self.waited = math.inf, 0  # validation loss, and validations since it was that low
        self.losses: list[float] = []  # of the steps that the present epoch has done
        self.stop, self.asked = StopAsked(), 0  # signal that any of the processes was sent; 0: none
        self.precision, self.coarse_hash, self.resumed_at = config.training.precision, coarse_hash, 0
        self.total_steps = config.training.epochs * self.stage.steps_per_epoch
        self.legs = [{"from_step": 0, "epochs": config.training.epochs}]  # totals asked for so far
        self._resume()

    def path(self, which: str) -> Path:
        """Checkpoint file; `which` is last or best."""
        return self.folder / "checkpoints" / f"{self.name}-{which}.safetensors"

    def _resume(self) -> None:
        found = checkpoints.latest(self.path("last"), self.path("previous"))
        if found is None:
            runs.refuse_lost_checkpoint(self.folder, self.name, self.path("last"))
            if self.config.training.start and self.name in STAGES:
                start_from(self.network, self.name)
                self.average = MovingAverage(self.network, self.config.training.ema_decay)
            return
        tensors, state = found
        self.network.load_state_dict(checkpoints.part(tensors, "network"))
        self.average.load(checkpoints.part(tensors, "average"), state["averaged"])
        checkpoints.unpack_optimizer(tensors, self.optimizer)
        self.done_epochs, self.done_steps, self.skipped = state["epochs"], state["steps"], state["skipped"]
        self.best, self.seconds, self.precision = state["best"], state["seconds"], state["precision"]
        self.losses, self.waited = state["losses"], state["waited"]
        self.lowest = math.inf if state["lowest"] is None else state["lowest"]
        if (before := state["threads"]) != torch.get_num_threads():
            warnings.warn(
                f"{self.name} was trained with {before} threads and goes on with {torch.get_num_threads()}: sums are "
                "taken in another order, so the last digits will differ from an undisturbed run's", stacklevel=2
            )  # fmt: skip
        # an interrupted run goes on as if nothing had happened; one that was given more epochs warms up again
        same = state["total_steps"] == self.total_steps
        self.resumed_at = state["resumed_at"] if same else self.done_steps
        leg = {"from_step": self.done_steps, "epochs": self.config.training.epochs}
        self.legs = state["legs"] if same else [*state["legs"], leg]
        if state["coarse"] != self.coarse_hash:
            self.best = -1.0  # the best so far corrected another coarse network

    @property
    def on_plateau(self) -> bool:
        """Whether the validation loss has not fallen for as long as the configuration waits."""
        patience = self.config.training.patience
        return 0 < patience <= self.waited

    def configure_optimizers(self):
        """The optimizer made with the module, so that a resumed one keeps its moments."""
        return self.optimizer

    def train_dataloader(self) -> Batches:
        """Items of the next epoch, in their own order: each is drawn from seed, epoch and index."""
        # here, since Lightning puts its own handlers there after `on_fit_start`: they wait for the other processes, and
        # what those wait for may be this one
        self.stop.listen()
        self.items.epoch = self.done_epochs
        places = self.group.share(self.stage.batch, self.name)
        return Batches(self.items, self.stage.batch, self.config.cluster.cutters, first=len(self.losses), places=places)

    def _autocast(self):
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def on_fit_start(self) -> None:
        """Settle the precision, once for the whole run, and open the progress bar over all steps that are left."""
        if self.precision == "auto":
            side = 32 if self.device.type == "cpu" else 96  # a GPU tells them apart by its own work alone
            trial = [max(2 * self.network.multiple, min(side, n)) for n in self.stage.patch]
            self.precision = self.group.told(faster_precision(self.network, trial))
        self.task.to(self.device)
        self.average.weights = {n: t.to(self.device) for n, t in self.average.weights.items()}
        for kept in self.optimizer.state.values():  # Lightning leaves the count where it was read, and a GPU refuses it
            kept |= {"step": kept["step"].to(self.device)} if "step" in kept else {}
        silent = not self.group.is_first
        self.bar = tqdm(
            total=self.total_steps, initial=self.done_steps, desc=self.name, unit="step", mininterval=2.0,
            disable=silent,
        )  # fmt: skip

    def on_train_epoch_start(self) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def training_step(self, batch: dict, _index: int) -> None:
        """One optimizer step; a step with a non-finite gradient is skipped and counted, a non-finite loss stops."""
        try:
            self._step(batch)
        except (MemoryError, RuntimeError) as error:
            full = isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)  # a CPU's
            if not full:
                raise
            raise OutOfMemory(f"{self._how_to_fit()}; the last checkpoint is whole") from error
        self.asked = self.group.highest(self.stop.signum or 0)
        if self.asked and len(self.losses) < self.stage.steps_per_epoch:
            self._stop()  # else the epoch is closed first

    def _how_to_fit(self) -> str:
        if self.device.type == "cuda":
            room = torch.cuda.get_device_properties(self.device).total_memory
        else:
            import psutil  # here, not above: training needs this module on machines that have little else

            room = psutil.virtual_memory().available
        return remedy(self.config, self.name, bf16=self.precision == "bf16", room_gb=room / 1e9)

    def _step(self, batch: dict) -> None:
        options = self.config.training
        peak, share = self.stage.learning_rate, options.warmup_share
        rate = learning_rate(
            self.done_steps, total=self.total_steps, peak=peak, warmup_share=share, resumed_at=self.resumed_at
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch["image"] = batch["image"].float()  # items from afar come in half precision
        with self._autocast():
            loss = self.task.loss(self.network, batch)
        self.optimizer.zero_grad(set_to_none=True)
        with repeatable(self.device):
            self.manual_backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), options.gradient_clip)
        value, norm = torch.stack((loss.detach(), norm)).tolist()  # the only time that a step waits for a GPU
        if not math.isfinite(value):
            raise FloatingPointError(f"{self.name}: loss is {value} at step {self.done_steps} on {batch['case']}")
        if math.isfinite(norm):
            self.optimizer.step()
            self.average.update(self.network)
        else:
            self.skipped += 1
        self.done_steps += 1
        self.losses.append(value)
        self.bar.update(1)
        self.bar.set_postfix(loss=f"{value:.3f}", refresh=False)

    def on_train_epoch_end(self) -> None:
        """Validate when it is time, write the checkpoint, then the history."""
        self.done_epochs += 1
        last = self.done_epochs >= self.config.training.epochs
        due = last or self.done_epochs % self.config.training.validate_every == 0
        tally = self.validate_now() if due else None
        self.seconds += time.perf_counter() - self.started
        validation = tally.summary() if tally else dict.fromkeys(VALIDATION_COLUMNS, math.nan)
        row = {
            "network": self.name, "epoch": self.done_epochs, "step": self.done_steps,
            "train_loss": sum(self.losses) / len(self.losses), **validation,
            "learning_rate": self.optimizer.param_groups[0]["lr"], "seconds": round(self.seconds, 2),
            "skipped_steps": self.skipped,
        }  # fmt: skip
        row, self.losses = self.group.told(row), []  # one decision for all, whatever a GPU rounds
        if tally is not None:
            lower = row["validation_loss"] < self.lowest
            self.lowest, self.waited = (row["validation_loss"], 0) if lower else (self.lowest, self.waited + 1)
            self.trainer.should_stop = self.on_plateau
        if tally is not None and not row["dice_mean"] < self.best:  # nan where validation shows no vertebra: the last
            self.best = row["dice_mean"] if math.isfinite(row["dice_mean"]) else self.best
            if self.group.is_first:
                checkpoints.save(self.path("best"), dict(self.average.weights), self._state())
        if self.group.is_first:
            self._close(row, tally)
        self.asked = self.group.highest(self.stop.signum or 0)
        if self.asked:
            raise Interrupted(f"{self.name}, after epoch {self.done_epochs}", self.asked)

    def _close(self, row: dict, tally: Tally | None) -> None:
        """Write what an epoch leaves; its checkpoint last: whatever is cut short before that is done again."""
        if tally is not None:
            vertebrae = [{"network": self.name, "epoch": self.done_epochs, **r} for r in tally.per_vertebra()]
            append_rows(self.folder / "history_vertebrae.csv", vertebrae, ["network", "epoch", "vertebra"])
        append_rows(self.folder / "history.csv", [row], ["network", "epoch"])
        self._save()

    def on_fit_end(self) -> None:
        """Close the progress bar."""
        self.bar.close()

    def _state(self) -> dict:
        return {
            "network": self.name, "epochs": self.done_epochs, "steps": self.done_steps, "skipped": self.skipped,
            "best": self.best, "seconds": self.seconds, "precision": self.precision, "config_hash": self.config.hash(),
            "averaged": self.average.steps, "total_steps": self.total_steps, "resumed_at": self.resumed_at,
            "coarse": self.coarse_hash, "losses": self.losses, "threads": torch.get_num_threads(),
            "legs": self.legs, "lowest": self.lowest if math.isfinite(self.lowest) else None, "waited": self.waited,
        }  # fmt: skip

    def _save(self) -> None:
        tensors = checkpoints.pack(self.network, self.average.weights, self.optimizer)
        checkpoints.save(self.path("last"), tensors, self._state(), keep=self.path("previous"))

    def _stop(self) -> None:
        """Write a checkpoint inside the epoch, between two steps, and end."""
        self.seconds += time.perf_counter() - self.started
        if self.group.is_first:
            self._save()
        raise Interrupted(f"{self.name}, epoch {self.done_epochs + 1}, step {self.done_steps}", self.asked)

    @torch.no_grad()
    def validate_now(self) -> Tally:
        """Score the averaged weights on the validation items."""
        network = build(self.config, self.name).to(self.device).eval()
        network.load_state_dict(self.average.weights)
        spacing = self.config.preparation
        coarse = self.name == "coarse"
        tally = Tally(
            spacing.coarse_spacing_mm if coarse else spacing.spacing_mm, self.config.evaluation.identification_radius_mm
        )
        for i in range(len(self.validation)):
            batch = self.transfer_batch_to_device(collate([self.validation[i]]), self.device, 0)
            with self._autocast():
                loss, labels = self.task.judge(network, batch)
            tally.add(batch["labels"][0], labels, loss.item())
        return tally
