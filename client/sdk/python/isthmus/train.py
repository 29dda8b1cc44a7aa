"""A training run with the caller's own batches."""

from __future__ import annotations

import ctypes
import json
import os
from dataclasses import dataclass, field
from typing import Any, Callable, Iterable, Iterator, Mapping, Optional, Sequence, Union

import numpy as np

from . import _library as lib

Ids = Union[Sequence[int], np.ndarray]


@dataclass
class Batch:
    """The samples of one optimizer step.

    `ids`: a [samples, length] array or a list of arrays of any lengths. What is predicted:
    nothing given: each id but the first, from those before it; `targets`: at each place what comes
    next, -100 for nothing; `labels`: as Hugging Face has them, beside the ids they name (they are
    moved by one place here). `samples`: a number for each sample that is the same whenever it comes
    again; without it every visit counts as new.
    """

    ids: Union[np.ndarray, Sequence[Ids]]
    targets: Optional[Union[np.ndarray, Sequence[Ids]]] = None
    labels: Optional[Union[np.ndarray, Sequence[Ids]]] = None
    samples: Optional[Sequence[int]] = None

    def rows(self) -> Iterator[tuple[np.ndarray, Optional[np.ndarray], Optional[int]]]:
        if self.targets is not None and self.labels is not None:
            raise ValueError("batch: expected targets or labels, got both")
        for name, beside in (("targets", self.targets), ("labels", self.labels), ("samples", self.samples)):
            if beside is not None and len(beside) != len(self.ids):
                raise ValueError(f"batch: expected {len(self.ids)} {name}, got {len(beside)}")
        for i, row in enumerate(self.ids):
            ids = _int32(row)
            targets = None
            if self.targets is not None:
                targets = _int32(self.targets[i])
            elif self.labels is not None:
                targets = np.append(_int32(self.labels[i])[1:], np.int32(-100))
            if targets is not None and len(targets) != len(ids):
                raise ValueError(f"batch: expected {len(ids)} targets for sample {i}, got {len(targets)}")
            yield ids, targets, None if self.samples is None else int(self.samples[i])


BatchLike = Union[Batch, np.ndarray, Sequence[Ids]]
Batches = Union[Iterable[BatchLike], Callable[[int], Optional[BatchLike]]]


@dataclass(frozen=True)
class Progress:
    """A finished step."""

    step: int
    total_steps: int
    loss: float
    tokens_per_s: float
    bits_per_element_forward: float
    bits_per_element_backward: float


@dataclass
class Result:
    report: dict[str, Any]
    progress: list[Progress] = field(default_factory=list)

    @property
    def losses(self) -> np.ndarray:
        """Loss of every step of this run, nats a predicted token."""
        return np.array([p.loss for p in self.progress])


def _int32(values: Ids) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or not (np.issubdtype(array.dtype, np.integer) or array.size == 0):
        raise ValueError(f"batch: expected a row of whole numbers, got {array.dtype} of shape {array.shape}")
    narrow = np.ascontiguousarray(array, dtype=np.int32)
    if not np.array_equal(narrow, array):
        raise ValueError("batch: expected ids of 32 bits, got larger ones")
    return narrow


class Run:
    """One run. `train` once; `stop` from a callback, another thread or a signal handler.

    `job`: a mapping or the text of a job file; with `batches` it has no data.train, and train.steps.
    `batches`: an iterable with an item for each step, or a function of the step's number (1-based)
    that returns one, None at the data's end. A resumed run asks a function for the steps that are
    left; of an iterable it passes over the steps that were done. `reconnect_s`: after a lost cluster
    or a sleep of this device it goes on from the newest checkpoint, until no step has finished for
    that long; it needs a function.
    """

    def __init__(
        self,
        job: Union[str, Mapping[str, Any]],
        batches: Optional[Batches] = None,
        *,
        coordinator: str,
        evaluation: Optional[BatchLike] = None,
        num_samples: int = 0,
        directory: Union[str, os.PathLike, None] = None,
        settings: Sequence[str] = (),
        on_progress: Optional[Callable[[Progress], Any]] = None,
        on_note: Optional[Callable[[str], Any]] = None,
        resume: bool = False,
        overwrite: bool = False,
        threads: int = 0,
        max_bytes: int = 0,
        wait_s: float = 60.0,
        reconnect_s: float = 0.0,
        tls_ca: Union[str, os.PathLike, None] = None,
        tls_cert: Union[str, os.PathLike, None] = None,
        tls_key: Union[str, os.PathLike, None] = None,
        insecure: bool = False,
    ):
        self._handle = ctypes.c_void_p()
        self._failure: Optional[BaseException] = None
        self._result = Result({})
        self._on_progress, self._on_note = on_progress, on_note
        if reconnect_s > 0 and batches is not None and not callable(batches):
            raise ValueError("reconnect_s: expected batches as a function, which can be asked again for a step")
        self._source = _source_of(batches)
        self._evaluation = evaluation
        self._fresh_sample = 1 << 63  # ids of samples without one
        options = lib.RunOptions(struct_size=ctypes.sizeof(lib.RunOptions))
        options.directory = lib.text_or_null(directory)
        texts = [os.fsencode(setting) for setting in settings]
        options.settings = (ctypes.c_char_p * len(texts))(*texts)
        options.num_settings = len(texts)
        options.coordinator = lib.text_or_null(coordinator)
        options.tls_ca, options.tls_cert, options.tls_key = map(lib.text_or_null, (tls_ca, tls_cert, tls_key))
        options.insecure, options.resume, options.overwrite = int(insecure), int(resume), int(overwrite)
        options.wait_s, options.reconnect_s, options.threads = wait_s, reconnect_s, threads
        options.max_bytes, options.num_samples = max_bytes, num_samples
        self._keep = [lib.PROGRESS_FN(self._progress), lib.NOTE_FN(self._note)]
        options.progress, options.note = self._keep
        if self._source is not None:
            options.batches = lib.BATCH_FN(self._step)
            self._keep.append(options.batches)
        if evaluation is not None:
            options.evaluation = lib.BATCH_FN(self._evaluate)
            self._keep.append(options.evaluation)
        text = job if isinstance(job, str) else json.dumps(job)
        lib.check(lib.library.isthmus_run_new(text.encode(), ctypes.byref(options), ctypes.byref(self._handle)))

    def train(self) -> Result:
        """The whole run. What a callback raised comes out here, after a checkpoint."""
        status = lib.library.isthmus_run_train(self._handle)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        lib.check(status)
        self._result.report = json.loads(lib.library.isthmus_run_report(self._handle))
        return self._result

    def stop(self) -> None:
        """The step ends, a checkpoint is written, `train` raises Stopped."""
        lib.library.isthmus_run_stop(self._handle)

    def __del__(self):
        if getattr(self, "_handle", None):
            lib.library.isthmus_run_free(self._handle)
            self._handle = None

    def _guard(self, work: Callable[[], Any]) -> int:
        try:
            work()
            return 0
        except BaseException as error:  # KeyboardInterrupt too: it must not be lost in the C code
            if self._failure is None:
                self._failure = error
            self.stop()
            return 1

    def _step(self, _user, step: int, batch) -> int:
        return self._guard(lambda: self._add(batch, self._source(step)))

    def _evaluate(self, _user, _step: int, batch) -> int:
        return self._guard(lambda: self._add(batch, self._evaluation))

    def _add(self, handle, batch: Optional[BatchLike]) -> None:
        if batch is None:
            return
        for ids, targets, sample in (batch if isinstance(batch, Batch) else Batch(batch)).rows():
            if sample is None:
                sample = self._fresh_sample
                self._fresh_sample += 1
            places = None if targets is None else targets.ctypes.data
            lib.check(lib.library.isthmus_batch_add(handle, ids.ctypes.data, places, len(ids), sample))

    def _progress(self, _user, given) -> None:
        p = given.contents
        progress = Progress(
            p.step, p.total_steps, p.loss, p.tokens_per_s, p.bits_per_element_forward, p.bits_per_element_backward
        )
        self._result.progress.append(progress)
        if self._on_progress is not None:
            self._guard(lambda: self._on_progress(progress))

    def _note(self, _user, line: bytes) -> None:
        if self._on_note is not None:
            self._guard(lambda: self._on_note(line.decode(errors="replace")))


def _source_of(batches: Optional[Batches]) -> Optional[Callable[[int], Optional[BatchLike]]]:
    if batches is None or callable(batches):
        return batches
    items = iter(batches)
    given = 0

    def at(step: int) -> Optional[BatchLike]:
        nonlocal given
        while given < step - 1:  # a resumed run
            given += 1
            if next(items, None) is None:
                return None
        given += 1
        return next(items, None)

    return at


def train(
    job: Union[str, Mapping[str, Any]], batches: Optional[Batches] = None, *, coordinator: str, **options: Any
) -> Result:
    """Run(...).train()"""
    return Run(job, batches, coordinator=coordinator, **options).train()
