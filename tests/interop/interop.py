"""Isthmus beside Hugging Face transformers and peft: the same files must give the same loss to 1e-4, in both directions."""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch
import transformers

import reference

transformers.logging.set_verbosity_error()
TOLERANCE = 1e-4

# Published or trained models: (folder, ids per document, LoRA targets). What is not there is left out.
MODELS = [
    ("stories260K", 60, ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
    ("babyllama-105", 60, ["q_proj", "v_proj"]),
    ("mixed-14m", 40, ["q_proj", "v_proj"]),
    ("gpt-nano-sort", 10, ["c_attn", "c_proj"]),
]


def random_models():
    """One small model of every architecture and of every option that changes the arithmetic, with random weights."""
    llama = dict(vocab_size=64, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=6,
                 num_key_value_heads=2, max_position_embeddings=96, initializer_range=0.2)
    rope3 = dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
                 original_max_position_embeddings=16)
    t = transformers
    yield "llama, untied", t.LlamaConfig(**llama, rms_norm_eps=1e-5)
    yield "llama, biases and head_dim", t.LlamaConfig(**llama, attention_bias=True, mlp_bias=True, head_dim=10)
    yield "llama, linear rope", t.LlamaConfig(**llama, rope_scaling=dict(type="linear", factor=2.5))
    yield "llama, llama3 rope", t.LlamaConfig(**llama, rope_theta=500000.0, rope_scaling=rope3, tie_word_embeddings=True)
    yield "mistral, window 8", t.MistralConfig(**llama, sliding_window=8)
    yield "mistral, no window", t.MistralConfig(**llama, sliding_window=None)
    yield "qwen2", t.Qwen2Config(**llama)
    yield "gpt2", t.GPT2Config(vocab_size=64, n_embd=48, n_layer=3, n_head=4, n_positions=96, initializer_range=0.2,
                               bos_token_id=0, eos_token_id=0)


class Check:
    def __init__(self, isthmus, work):
        self.isthmus, self.work, self.failures, self.count = isthmus, work, [], 0

    def folder(self):
        return pathlib.Path(tempfile.mkdtemp(dir=self.work))

    def run(self, *arguments):
        p = subprocess.run([self.isthmus, *map(str, arguments)], capture_output=True, text=True, timeout=600)
        if p.returncode != 0:
            raise RuntimeError(f"isthmus {arguments[0]}: exit status {p.returncode}: {p.stderr.strip()[-300:]}")
        return p.stdout

    def eval(self, model, data, adapter=None):
        more = ["--adapter", adapter] if adapter else []
        return json.loads(self.run("eval", "--model", model, *more, "--data", data, "--json"))["loss"]

    def close(self, what, ours, theirs):
        self.count += 1
        good = abs(ours - theirs) <= TOLERANCE
        print(f"{'ok  ' if good else 'FAIL'} {what}: isthmus {ours:.6f}, reference {theirs:.6f}", flush=True)
        if not good:
            self.failures.append(what)

    def data(self, documents):
        path = self.folder() / "ids.jsonl"
        path.write_text("".join(json.dumps({"input_ids": ids}) + "\n" for ids in documents))
        return path

    def train(self, model, data, **train):
        """A short run over one worker; returns the output folder and the loss that Isthmus reports after it."""
        folder = self.folder()
        job = {"model": str(model), "cluster": {"workers": 1}, "data": {"train": str(data), "eval": str(data)},
               "train": {"optimizer": {"name": "adamw", "lr": 0.01}, "steps": 4, "micro_batch_size": 2, **train},
               "codec": "none", "output": str(folder / "out")}
        (folder / "job.yaml").write_text(json.dumps(job))  # JSON is YAML
        report = json.loads(self.run("train", folder / "job.yaml", "--quiet", "--json"))
        return folder / "out", report["loss"]["eval_after"]


def copy_model(source, target, weights=None):
    """The model's files; `weights` in place of its own."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "generation_config.json"):
        if (source / name).exists():
            shutil.copy(source / name, target / name)
    shutil.copy(weights or source / "model.safetensors", target / "model.safetensors")
    return target


def check_base(check, name, directory, data, documents):
    check.close(f"{name}: base", check.eval(directory, data), reference.loss(reference.load(directory), documents))


def check_their_adapter(check, name, directory, data, documents, **lora):
    adapter = check.folder()
    theirs = reference.train_adapter(reference.load(directory), documents, adapter, **lora)
    check.close(f"{name}: adapter that peft trained", check.eval(directory, data, adapter), theirs)
    return adapter, theirs


def check_merge(check, name, directory, data, documents, adapter, loss, exact):
    """`exact`: the base is stored in fp32, so that merging rounds nothing away."""
    merged = check.folder() / "merged"
    check.run("merge", "--model", directory, "--adapter", adapter, "--out", merged)
    theirs = reference.loss(reference.load(merged), documents)
    check.close(f"{name}: merged model in transformers", check.eval(merged, data), theirs)
    if exact:
        check.close(f"{name}: merged model against the adapter", theirs, loss)


def check_our_adapter(check, name, directory, data, documents, targets, exact):
    lora = {"rank": 4, "alpha": 8, "dropout": 0.0, "targets": targets}
    out, ours = check.train(directory, data, method="lora", lora=lora)
    adapter = out / "adapter"
    tuned = reference.load_adapter(reference.load(directory), adapter)
    theirs = reference.loss(tuned, documents)
    check.close(f"{name}: adapter that isthmus trained, in peft", ours, theirs)
    check.close(f"{name}: the same adapter evaluated again", check.eval(directory, data, adapter), theirs)
    check_merge(check, name, directory, data, documents, adapter, theirs, exact)


def check_full(check, name, directory, data, documents):
    out, ours = check.train(directory, data, method="full", optimizer={"name": "adamw", "lr": 0.001})
    trained = copy_model(directory, check.folder() / "full", weights=out / "model.safetensors")
    check.close(f"{name}: full training, in transformers", ours, reference.loss(reference.load(trained), documents))


def check_model(check, name, directory, length, targets):
    documents = reference.write_documents(reference.load(directory), 4, length, seed=3)
    data = check.data(documents)
    exact = json.loads((directory / "config.json").read_text()).get("torch_dtype") == "float32"
    check_base(check, name, directory, data, documents)
    check_their_adapter(check, name, directory, data, documents, r=4, lora_alpha=8, target_modules=targets)
    adapter, theirs = check_their_adapter(check, f"{name}, rslora on all linears", directory, data, documents, r=3,
                                          lora_alpha=2, use_rslora=True, target_modules="all-linear")
    check_merge(check, f"{name}, rslora", directory, data, documents, adapter, theirs, exact)
    check_our_adapter(check, name, directory, data, documents, targets, exact)
    if exact:
        check_full(check, name, directory, data, documents)


def check_random_model(check, name, config):
    torch.manual_seed(5)
    directory = check.folder()
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter_name, p in model.named_parameters():
            if parameter_name.endswith(".bias"):
                p.normal_(std=0.1)  # drawn as zero: they would prove nothing
    model.save_pretrained(str(directory))
    documents = reference.write_documents(model, 3, 48, seed=7)
    data = check.data(documents)
    check_base(check, name, directory, data, documents)
    check_their_adapter(check, name, directory, data, documents, steps=3, r=2, lora_alpha=4, target_modules="all-linear")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--isthmus", required=True)
    parser.add_argument("--models", required=True, type=pathlib.Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="isthmus-interop-") as work:
        check = Check(options.isthmus, work)
        cases = [(n, lambda n=n, c=c: check_random_model(check, n, c)) for n, c in random_models()]
        for n, length, targets in MODELS:
            if (options.models / n).exists():
                cases.append((n, lambda n=n, l=length, t=targets: check_model(check, n, options.models / n, l, t)))
        for name, case in cases:
            try:
                case()
            except Exception as error:  # one broken case must not hide the others
                print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
                check.failures.append(name)
    print(f"interop: {check.count} comparisons, {len(check.failures)} failed")
    return 1 if check.failures else 0


if __name__ == "__main__":
    sys.exit(main())
