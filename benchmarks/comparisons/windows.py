"""From a scan to labels by sliding windows: what they cost by themselves, and with a network that takes longer."""

import numpy as np
import torch
from harness import OURS, Race, peer
from scene import COARSE_MM, SEED

from spineseg.anatomy.labels import N_CLASSES
from spineseg.anatomy.phantom import generate
from spineseg.data.preparation import prepare_arrays
from spineseg.learning.boxed import load_boxed
from spineseg.learning.windows import label_by_windows, wanted

OVERLAP = 0.5


def races(quick: bool) -> list[Race]:
    """A spine of 72 cm at 1.5 mm, 96-cubed windows that overlap by half, so that both libraries place them alike.

    The V-Net takes two fifths of it.
    """
    shape, window = ((48, 48, 80), (32, 32, 32)) if quick else ((192, 192, 480), (96, 96, 96))
    part = shape[2] * 2 // 5
    config, networks, _ = load_boxed()
    phantom = generate(SEED, spacing_mm=COARSE_MM)
    # what the coarse network knows, mirrored until it fills the box
    small = prepare_arrays(phantom.ct_hu, None, phantom.affine, config.preparation).coarse_image
    room = [(0, max(0, n - m)) for n, m in zip(shape, small.shape, strict=True)]
    filled = np.pad(small, room, mode="symmetric")[tuple(slice(0, n) for n in shape)]
    image = torch.from_numpy(np.ascontiguousarray(filled))
    # lines of which each is the highest over its own range of brightness
    slope = torch.arange(N_CLASSES, dtype=torch.float32).view(1, -1, 1, 1, 1)
    offset = -(slope**2) / (2 * N_CLASSES)

    def cheap(patch):
        """Logits that take no longer than writing them down."""
        return torch.addcmul(offset, patch, slope)

    rounds = 0 if quick else 1
    targets, memory = {"MONAI": 1 / 0.7}, {"MONAI": 3.0}
    return [
        Race("windows by themselves", *both(cheap, image, window), targets, memory),
        Race(
            "windows, the box's coarse V-Net",
            *both(networks["coarse"].eval(), image[..., :part], window),
            rounds=rounds,
        ),
    ]


def both(network, image, window):
    """Sides and check for one network."""
    shape = tuple(image.shape)
    low, high, starts = wanted(None, shape, window, OVERLAP)
    monai = peer("monai.inferers")

    @torch.inference_mode()
    def ours():
        def logits_of(start):
            box = tuple(slice(s, s + n) for s, n in zip(start, window, strict=True))
            return network(image[box][None, None])[0]

        return label_by_windows(logits_of, low, high, starts, window, shape)[0]

    @torch.inference_mode()
    def of_monai():
        options = {"roi_size": window, "sw_batch_size": 1, "predictor": network, "overlap": OVERLAP, "mode": "constant"}
        logits = monai.sliding_window_inference(image[None, None], **options)
        return logits[0].argmax(0).to(torch.uint8).numpy()

    def check(results):
        wrong = {name: int((found != results[OURS]).sum()) for name, found in results.items()}
        assert not any(wrong.values()), wrong
        held = np.unique(results[OURS]).size
        assert held > 1, "nothing but one class"
        return {name: (True, f"{n} labels differ, {held} classes won") for name, n in wrong.items()}

    return {OURS: ours, "MONAI": monai and of_monai}, check
