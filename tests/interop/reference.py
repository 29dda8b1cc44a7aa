"""What Hugging Face transformers and peft say of a model, an adapter and a few sequences of ids."""

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM


def load(directory):
    """Weights stored in half precision are computed in fp32, as Isthmus does by default."""
    return AutoModelForCausalLM.from_pretrained(str(directory), torch_dtype=torch.float32).eval()


def load_adapter(model, directory):
    return PeftModel.from_pretrained(model, str(directory)).eval()


def nll(model, ids):
    """Summed NLL of every id but the first, in float64 behind the logits."""
    x = torch.tensor([ids])
    logits = model(input_ids=x[:, :-1]).logits[0].double()
    return torch.nn.functional.cross_entropy(logits, x[0, 1:], reduction="sum")


@torch.no_grad()
def loss(model, documents):
    total = sum(nll(model, ids).item() for ids in documents)
    return total / sum(len(ids) - 1 for ids in documents)


@torch.no_grad()
def write_documents(model, count, length, seed):
    """Sequences drawn from the model itself: text of its own kind, whatever its vocabulary is. The last is drawn evenly, so that
    a model that is sure of itself has something to lose."""
    generator = torch.Generator().manual_seed(seed)
    first = model.config.bos_token_id or 0
    documents = []
    for i in range(count):
        ids = [first]
        while len(ids) < length:
            p = torch.softmax(model(input_ids=torch.tensor([ids])).logits[0, -1], -1)
            p = torch.ones_like(p) if i == count - 1 else p
            ids.append(int(torch.multinomial(p, 1, generator=generator)))
        documents.append(ids)
    return documents


def train_adapter(model, documents, directory, steps=6, **lora):
    """A few AdamW steps with peft; returns peft's own loss of what it saved."""
    torch.manual_seed(1)
    tuned = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **lora))
    optimizer = torch.optim.AdamW([p for p in tuned.parameters() if p.requires_grad], lr=1e-2)
    tokens = sum(len(ids) - 1 for ids in documents)
    for _ in range(steps):
        optimizer.zero_grad()
        (sum(nll(tuned, ids) for ids in documents) / tokens).backward()
        optimizer.step()
    tuned.eval()
    tuned.save_pretrained(str(directory))
    return loss(tuned, documents)
