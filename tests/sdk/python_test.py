#!/usr/bin/env python3
"""The Python package in a real interpreter, against a cluster of processes.

    python_test.py PROGRAM EXAMPLES_FOLDER PACKAGE_FOLDER LIBRARY
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
import zipfile
from pathlib import Path

try:
    import numpy as np
except ImportError:
    print("python_test: python3-numpy is not installed")
    sys.exit(77)

PROGRAM, EXAMPLES, PACKAGE, LIBRARY = (os.path.abspath(path) for path in sys.argv[1:5])
os.environ["ISTHMUS_LIBRARY"] = LIBRARY
sys.path.insert(0, PACKAGE)
import isthmus  # noqa: E402

MODEL = EXAMPLES + "/stories260K"


def free_port() -> int:
    # Below the ports that the kernel gives to outgoing connections (tests/e2e/free_port.h says why).
    for port in random.sample(range(10000, 32768), 1000):
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass
    raise OSError("no free port")


class Cluster:
    def __init__(self, folder: str):
        self.address = f"127.0.0.1:{free_port()}"
        self.processes = [
            self.start(folder, "coordinator", "--listen", self.address, "--http", "127.0.0.1:0"),
            self.start(
                folder, "worker", "--coordinator", self.address, "--listen", f"127.0.0.1:{free_port()}",
                "--metrics", f"127.0.0.1:{free_port()}", "--model-root", EXAMPLES,
            ),
        ]  # fmt: skip

    @staticmethod
    def start(folder: str, *arguments: str) -> subprocess.Popen:
        with open(f"{folder}/{arguments[0]}.log", "wb") as log:
            return subprocess.Popen([PROGRAM, *arguments], cwd=folder, stdout=log, stderr=log)

    def close(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
            process.wait(30)


class IsthmusTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="isthmus-python-")
        cls.cluster = Cluster(cls.folder)

    @classmethod
    def tearDownClass(cls):
        cls.cluster.close()
        shutil.rmtree(cls.folder)

    def job(self, steps: int, output: str) -> dict:
        return {
            "model": MODEL,
            "output": f"{self.folder}/{output}",
            "data": {"sequence_length": 16},
            "train": {"steps": steps, "micro_batch_size": 2, "micro_batches": 2, "optimizer": {"lr": 5e-3}},
            "codec": "none",
        }

    @staticmethod
    def rows(step: int) -> np.ndarray:
        return (np.arange(4 * 17).reshape(4, 17) * 7 + step * 31) % 500 + 3

    def test_batches_of_each_form_train_alike(self):
        rows = [self.rows(step) for step in range(1, 5)]
        forms = {
            "arrays": iter(rows),
            "lists": [row.tolist() for row in rows],
            "targets": (isthmus.Batch(r[:, :-1], targets=r[:, 1:]) for r in rows),
            "function": lambda step: rows[step - 1],
            "labels": (isthmus.Batch(r, labels=r, samples=range(4)) for r in rows),
        }
        losses = {}
        for name, batches in forms.items():
            job = self.job(4, "form-" + name)
            job["data"]["sequence_length"] = 17
            seen = []
            result = isthmus.train(
                job, batches, coordinator=self.cluster.address, evaluation=rows[0], on_progress=seen.append
            )
            self.assertEqual([p.step for p in seen], [1, 2, 3, 4])
            self.assertEqual(result.losses.shape, (4,))
            self.assertLess(result.report["loss"]["eval_after"], result.report["loss"]["eval_before"])
            losses[name] = result.losses
        for name in ("lists", "targets", "function"):
            np.testing.assert_array_equal(losses[name], losses["arrays"])
        # Hugging Face's labels name the same targets; one position more is computed and predicts nothing.
        np.testing.assert_allclose(losses["labels"], losses["arrays"], rtol=0, atol=1e-4)

    def test_an_exception_of_the_loader_comes_out_and_the_run_goes_on_later(self):
        def loader(broken):
            for step in range(1, 6):
                if broken and step == 3:
                    raise RuntimeError("disk on fire")
                yield self.rows(step)

        with self.assertRaisesRegex(RuntimeError, "disk on fire"):
            isthmus.train(self.job(5, "broken"), loader(True), coordinator=self.cluster.address)
        rest = isthmus.train(self.job(5, "broken"), loader(False), coordinator=self.cluster.address, resume=True)
        self.assertEqual([p.step for p in rest.progress], [3, 4, 5])
        whole = isthmus.train(self.job(5, "unbroken"), loader(False), coordinator=self.cluster.address)
        np.testing.assert_array_equal(rest.losses, whole.losses[2:])

    def test_stop_from_another_thread(self):
        first = threading.Event()
        run = isthmus.Run(
            self.job(1000, "stopped"), self.rows, coordinator=self.cluster.address, on_progress=lambda p: first.set()
        )
        threading.Thread(target=lambda: (first.wait(), run.stop())).start()
        with self.assertRaises(isthmus.Stopped):
            run.train()

    def test_keyboard_interrupt_comes_out(self):
        def progress(p):
            if p.step == 2:
                signal.raise_signal(signal.SIGINT)

        with self.assertRaises(KeyboardInterrupt):
            isthmus.train(
                self.job(1000, "keyboard"), self.rows, coordinator=self.cluster.address, on_progress=progress
            )
        self.assertEqual(json.loads(Path(self.folder, "keyboard/report.json").read_text())["status"], "interrupted")

    def test_wrong_input_is_named(self):
        def train(job, batches, **options):
            isthmus.train(job, batches, coordinator=self.cluster.address, **options)

        with self.assertRaisesRegex(isthmus.Error, "train.steps") as caught:
            train({"model": MODEL, "output": self.folder + "/x"}, [])
        self.assertEqual(caught.exception.status, 2)
        with self.assertRaisesRegex(ValueError, "whole numbers"):
            train(self.job(1, "x1"), [[[0.5, 1.0]]])
        with self.assertRaisesRegex(ValueError, "32 bits"):
            train(self.job(1, "x2"), [np.array([[1 << 40, 2]])])
        with self.assertRaisesRegex(ValueError, "targets or labels"):
            train(self.job(1, "x3"), [isthmus.Batch([[1, 2]], targets=[[1, 2]], labels=[[1, 2]])])
        with self.assertRaisesRegex(isthmus.Error, "expected ids from 0 to 511"):
            train(self.job(1, "x4"), [[[512, 1, 2]]])
        with self.assertRaisesRegex(isthmus.Error, "modell"):
            train({"modell": MODEL}, [])

    def test_tokenizer(self):
        tokenizer = isthmus.Tokenizer(MODEL)
        ids = tokenizer.encode("The cat sat.", add_special=False)
        self.assertEqual(ids.dtype, np.int32)
        self.assertEqual(tokenizer.decode(ids), "The cat sat.")
        self.assertGreaterEqual(tokenizer.eos, 0)
        with self.assertRaises(isthmus.Error):
            isthmus.Tokenizer("/nowhere")

    def test_generate_whole_and_split(self):
        heard = []
        whole = isthmus.generate(MODEL, "Once upon a time", max_new_tokens=12, on_text=heard.append)
        self.assertEqual("".join(heard), whole)
        self.assertIn("there was", whole)
        split = isthmus.generate(MODEL, "Once upon a time", max_new_tokens=12, coordinator=self.cluster.address)
        self.assertEqual(split, whole)
        short = isthmus.generate(MODEL, "Once upon a time", max_new_tokens=12, on_text=lambda text: True)
        self.assertTrue(whole.startswith(short) and len(short) < len(whole))

    def test_the_example(self):
        done = subprocess.run(
            [sys.executable, EXAMPLES + "/sdk/own_loader.py", self.cluster.address, MODEL, self.folder + "/example"],
            env={**os.environ, "PYTHONPATH": PACKAGE}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"loss [0-9.]+ -> [0-9.]+, [0-9.]+ MB over the edges")


class WheelTest(unittest.TestCase):
    def test_a_wheel_carries_the_library(self):
        try:
            import setuptools  # noqa: F401
            import wheel  # noqa: F401
        except ImportError:
            self.skipTest("python3-setuptools or python3-wheel is not installed")
        with tempfile.TemporaryDirectory(prefix="isthmus-wheel-") as folder:
            stage = folder + "/python"
            shutil.copytree(PACKAGE, stage, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(os.path.realpath(LIBRARY), stage + "/isthmus/libisthmus.so")
            build = "from setuptools import build_meta; print(build_meta.build_wheel('..'))"
            done = subprocess.run([sys.executable, "-c", build], cwd=stage, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True)  # fmt: skip
            self.assertEqual(done.returncode, 0, done.stdout)
            (made,) = Path(folder).glob("*.whl")
            self.assertRegex(made.name, r"^isthmus-[0-9.]+-py3-none-linux_\w+\.whl$")
            zipfile.ZipFile(made).extractall(folder + "/installed")
            environment = {k: v for k, v in os.environ.items() if k not in ("ISTHMUS_LIBRARY", "PYTHONPATH")}
            environment["PYTHONPATH"] = folder + "/installed"
            show = "import isthmus; print(isthmus.__version__, isthmus.__file__)"
            done = subprocess.run([sys.executable, "-c", show], cwd=folder, env=environment,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertIn(made.name.split("-")[1], done.stdout)
            self.assertIn("/installed/", done.stdout)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v"])
