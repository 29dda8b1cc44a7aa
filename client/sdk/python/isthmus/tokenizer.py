"""The tokenizer of a model folder."""

from __future__ import annotations

import ctypes
import os
from typing import Sequence, Union

import numpy as np

from . import _library as lib


class Tokenizer:
    def __init__(self, model: Union[str, os.PathLike]):
        self._handle = ctypes.c_void_p()
        lib.check(lib.library.isthmus_tokenizer_open(os.fsencode(model), ctypes.byref(self._handle)))

    def encode(self, text: str, add_special: bool = True) -> np.ndarray:
        """int32 ids; BOS and EOS as the model's files say."""
        ids, count = ctypes.POINTER(ctypes.c_int32)(), ctypes.c_size_t()
        if "\0" in text:
            raise ValueError("tokenizer: expected text without NUL characters")
        lib.check(
            lib.library.isthmus_tokenizer_encode(
                self._handle, text.encode(), int(add_special), ctypes.byref(ids), ctypes.byref(count)
            )
        )
        if count.value == 0:
            return np.empty(0, np.int32)
        return np.ctypeslib.as_array(ids, (count.value,)).copy()

    def decode(self, ids: Union[Sequence[int], np.ndarray]) -> str:
        row = np.ascontiguousarray(ids, dtype=np.int32)
        text = ctypes.c_char_p()
        lib.check(
            lib.library.isthmus_tokenizer_decode(self._handle, row.ctypes.data, row.size, ctypes.byref(text))
        )
        return text.value.decode(errors="replace")

    @property
    def eos(self) -> int:
        """-1: none"""
        return lib.library.isthmus_tokenizer_eos(self._handle)

    def __del__(self):
        if getattr(self, "_handle", None):
            lib.library.isthmus_tokenizer_free(self._handle)
            self._handle = None
