"""Isthmus: train a device's part of a split model with its own data.

The embedding, the first and last blocks, the labels and the loss stay in this process; the middle
of the model runs on the workers of a coordinator.

    import isthmus

    tokenizer = isthmus.Tokenizer("model")
    batches = ([tokenizer.encode(text) for text in texts] for texts in my_loader)
    result = isthmus.train(job, batches, coordinator="server:7600")
    print(result.losses, result.report["wire"])
"""

from ._library import Stopped, Error, version
from .generate import generate
from .tokenizer import Tokenizer
from .train import Batch, Progress, Result, Run, train

__all__ = [
    "Batch",
    "Stopped",
    "Error",
    "Progress",
    "Result",
    "Run",
    "Tokenizer",
    "generate",
    "train",
    "version",
]
__version__ = version()
