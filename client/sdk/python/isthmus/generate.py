"""Text from a model, whole here or through the split."""

from __future__ import annotations

import ctypes
import os
from typing import Any, Callable, Optional, Union

from . import _library as lib

Path = Union[str, os.PathLike]


def generate(
    model: Path,
    prompt: str,
    *,
    adapter: Optional[Path] = None,
    coordinator: Optional[str] = None,
    codec: Optional[str] = None,
    max_new_tokens: int = 128,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    ignore_eos: bool = False,
    on_text: Optional[Callable[[str], Any]] = None,
    threads: int = 0,
    wait_s: float = 60.0,
    tls_ca: Optional[Path] = None,
    tls_cert: Optional[Path] = None,
    tls_key: Optional[Path] = None,
    insecure: bool = False,
) -> str:
    """The new text. `on_text` hears each piece; True from it stops."""
    pieces: list[str] = []
    failure: list[BaseException] = []

    def hear(_user, text: bytes) -> int:
        try:
            pieces.append(text.decode(errors="replace"))
            return int(on_text is not None and on_text(pieces[-1]) is True)
        except BaseException as error:  # KeyboardInterrupt too
            failure.append(error)
            return 1

    options = lib.GenerateOptions(struct_size=ctypes.sizeof(lib.GenerateOptions))
    options.model, options.adapter = lib.text_or_null(model), lib.text_or_null(adapter)
    options.coordinator, options.codec = lib.text_or_null(coordinator), lib.text_or_null(codec)
    options.tls_ca, options.tls_cert, options.tls_key = map(lib.text_or_null, (tls_ca, tls_cert, tls_key))
    options.insecure, options.ignore_eos, options.wait_s = int(insecure), int(ignore_eos), wait_s
    options.threads, options.max_new_tokens, options.seed = threads, max_new_tokens, seed
    options.temperature, options.top_k, options.top_p = temperature, top_k, top_p
    callback = lib.TEXT_FN(hear)
    options.text = callback
    status = lib.library.isthmus_generate(ctypes.byref(options), prompt.encode(), None)
    if failure:
        raise failure[0]
    lib.check(status)
    return "".join(pieces)
