#!/usr/bin/env python3
"""A notebook's worth: fine-tune a split model with a data loader of one's own, then ask it.

    own_loader.py HOST:PORT MODEL_FOLDER OUTPUT_FOLDER [TEXT_FILE]
"""

import sys
from pathlib import Path

import numpy as np

import isthmus


class Pieces:
    """Any iterable of batches does: a torch DataLoader, a generator, this one."""

    def __init__(self, ids: np.ndarray, length: int, samples: int, epochs: int):
        count = (len(ids) - 1) // length
        self.rows = np.stack([ids[i * length : (i + 1) * length + 1] for i in range(count)])
        self.samples, self.epochs = samples, epochs

    def __len__(self) -> int:
        return self.epochs * (len(self.rows) // self.samples)

    def __iter__(self):
        random = np.random.default_rng(0)
        for _ in range(self.epochs):
            order = random.permutation(len(self.rows))
            for at in range(0, len(order) - self.samples + 1, self.samples):
                chosen = order[at : at + self.samples]
                yield isthmus.Batch(self.rows[chosen], samples=chosen)


def main() -> int:
    if len(sys.argv) not in (4, 5):
        print(__doc__, file=sys.stderr)
        return 2
    coordinator, model, output = sys.argv[1:4]
    source = Path(sys.argv[4]) if len(sys.argv) == 5 else Path(__file__).parents[1] / "shakespeare/train.txt"
    text = source.read_text()[:40000]

    tokenizer = isthmus.Tokenizer(model)
    batches = Pieces(tokenizer.encode(text), length=64, samples=8, epochs=1)
    job = {
        "model": str(Path(model).resolve()),
        "output": str(Path(output).resolve()),
        "data": {"sequence_length": 64},
        "train": {
            "steps": min(len(batches), 20),
            "micro_batch_size": 2,
            "micro_batches": 4,
            "lora": {"rank": 8, "targets": ["q_proj", "v_proj"]},
            "optimizer": {"lr": 2e-3},
        },
    }
    result = isthmus.train(
        job,
        batches,
        coordinator=coordinator,
        num_samples=len(batches.rows),
        on_progress=lambda p: print(f"step {p.step}/{p.total_steps}: loss {p.loss:.3f}"),
    )
    wire = result.report["wire"]
    sent = sum(row["payload_bytes"] + row["side_bytes"] + row["header_bytes"] for row in wire)
    print(f"loss {result.losses[0]:.3f} -> {result.losses[-1]:.3f}, {sent / 1e6:.2f} MB over the edges")
    print(isthmus.generate(model, "ROMEO:", adapter=Path(output) / "adapter", max_new_tokens=24))
    return 0


if __name__ == "__main__":
    sys.exit(main())
