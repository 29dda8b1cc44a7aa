"""isthmus.h by ctypes: the structures, the functions, a status as an exception."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from ctypes import POINTER, c_char_p, c_double, c_int, c_int32, c_int64, c_size_t, c_uint64, c_void_p
from pathlib import Path

OK, INTERNAL, INVALID_ARGUMENT, UNAVAILABLE, DATA_LOSS, RESOURCE_EXHAUSTED, CANCELLED, CALLBACK = range(8)


class Error(Exception):
    """A call that failed; `status` is a number of isthmus.h."""

    def __init__(self, status: int, text: str):
        super().__init__(text)
        self.status = status


class Stopped(Error):
    """The run was stopped in good order: `resume=True` goes on from its checkpoint."""


class ProgressStruct(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("step", c_int64),
        ("total_steps", c_int64),
        ("loss", c_double),
        ("tokens_per_s", c_double),
        ("bits_per_element_forward", c_double),
        ("bits_per_element_backward", c_double),
    ]


BATCH_FN = ctypes.CFUNCTYPE(c_int, c_void_p, c_int64, c_void_p)
PROGRESS_FN = ctypes.CFUNCTYPE(None, c_void_p, POINTER(ProgressStruct))
NOTE_FN = ctypes.CFUNCTYPE(None, c_void_p, c_char_p)
TEXT_FN = ctypes.CFUNCTYPE(c_int, c_void_p, c_char_p)


class RunOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("directory", c_char_p),
        ("settings", POINTER(c_char_p)),
        ("num_settings", c_size_t),
        ("coordinator", c_char_p),
        ("tls_ca", c_char_p),
        ("tls_cert", c_char_p),
        ("tls_key", c_char_p),
        ("insecure", c_int32),
        ("resume", c_int32),
        ("overwrite", c_int32),
        ("wait_s", c_double),
        ("reconnect_s", c_double),
        ("threads", c_int64),
        ("max_bytes", c_int64),
        ("num_samples", c_int64),
        ("batches", BATCH_FN),
        ("evaluation", BATCH_FN),
        ("progress", PROGRESS_FN),
        ("note", NOTE_FN),
        ("user", c_void_p),
    ]


class GenerateOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("model", c_char_p),
        ("adapter", c_char_p),
        ("coordinator", c_char_p),
        ("codec", c_char_p),
        ("tls_ca", c_char_p),
        ("tls_cert", c_char_p),
        ("tls_key", c_char_p),
        ("insecure", c_int32),
        ("ignore_eos", c_int32),
        ("wait_s", c_double),
        ("threads", c_int64),
        ("max_new_tokens", c_int64),
        ("temperature", c_double),
        ("top_k", c_int64),
        ("top_p", c_double),
        ("seed", c_uint64),
        ("text", TEXT_FN),
        ("user", c_void_p),
    ]


def _open() -> ctypes.CDLL:
    """The library beside this file (as the wheel has it), of ISTHMUS_LIBRARY, or of the system."""
    here = sorted(Path(__file__).parent.glob("libisthmus.so*"))
    asked = os.environ.get("ISTHMUS_LIBRARY")
    path = asked or (str(here[0]) if here else ctypes.util.find_library("isthmus"))
    if not path:
        raise ImportError("isthmus: expected libisthmus.so beside the package or installed, got none")
    return ctypes.CDLL(path)


library = _open()


def _declare(name: str, result, *arguments) -> None:
    function = getattr(library, name)
    function.restype = result
    function.argtypes = list(arguments)


_declare("isthmus_version", c_char_p)
_declare("isthmus_last_error", c_char_p)
_declare("isthmus_batch_add", c_int, c_void_p, c_void_p, c_void_p, c_size_t, c_uint64)
_declare("isthmus_run_new", c_int, c_char_p, POINTER(RunOptions), POINTER(c_void_p))
_declare("isthmus_run_train", c_int, c_void_p)
_declare("isthmus_run_stop", None, c_void_p)
_declare("isthmus_run_report", c_char_p, c_void_p)
_declare("isthmus_run_free", None, c_void_p)
_declare("isthmus_tokenizer_open", c_int, c_char_p, POINTER(c_void_p))
_declare("isthmus_tokenizer_free", None, c_void_p)
_declare(
    "isthmus_tokenizer_encode", c_int, c_void_p, c_char_p, c_int, POINTER(POINTER(c_int32)), POINTER(c_size_t)
)
_declare("isthmus_tokenizer_decode", c_int, c_void_p, c_void_p, c_size_t, POINTER(c_char_p))
_declare("isthmus_tokenizer_eos", c_int32, c_void_p)
_declare("isthmus_generate", c_int, POINTER(GenerateOptions), c_char_p, POINTER(c_int64))


def version() -> str:
    return library.isthmus_version().decode()


def check(status: int) -> None:
    if status == OK:
        return
    text = library.isthmus_last_error().decode(errors="replace")
    raise (Stopped if status == CANCELLED else Error)(status, text)


def text_or_null(value) -> bytes | None:
    return None if value is None else os.fsencode(value)
