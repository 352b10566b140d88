"""Asks each piece of the companion module, in an interpreter that has Axolotl: `made_exact` on PYTHONPATH holds them all.

The last line of the output names the plugins that were asked.
"""

import json
import os
import types

import made_exact
import torch
from axolotl.integrations.base import PluginManager
from axolotl.prompt_strategies import load
from axolotl.utils.dict import DictDefault

asked = []


def plugin(name):
    """Through Axolotl's own manager, which imports it by its dotted name."""
    manager = PluginManager.get_instance()
    manager.register(f"made_exact.{name}", required=True)
    asked.append(name)
    return manager.plugins[f"made_exact.{name}"]


def trainer(rows=0, accumulation=1, **more):
    args = types.SimpleNamespace(gradient_accumulation_steps=accumulation, multipack_real_batches=True, **more)
    return types.SimpleNamespace(args=args, train_dataset=list(range(rows)))


# --- weight decay, warmup, precision
model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))
one = trainer()
plugin("DecayAll").post_trainer_create(DictDefault({}), one)
assert one.get_decay_parameter_names(model) == ["0.weight", "0.bias", "1.weight", "1.bias"]

one = trainer(warmup_steps=2)
plugin("WarmupAsWritten").post_trainer_create(DictDefault({"warmup_steps": 1}), one)
assert one.args.warmup_steps == 1

pure = plugin("PureBf16")
for wanted in (False, True):
    cfg = DictDefault({"bf16": wanted})
    pure.post_model_load(cfg, model)
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16 if wanted else torch.float32}
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16"
    assert pure.get_training_args(cfg) == ({"bf16": False} if wanted else {})
    assert os.environ["ACCELERATE_MIXED_PRECISION"] == ("no" if wanted else "bf16")

# --- first tokens: two micro batches with 3 and 5 labels, of which 1 each is a row's first
batches = [{"labels": torch.tensor([[1, 2, 3, -100, -100]])}, {"labels": torch.tensor([[1, 2, 3, 4, 5]])}]
losses = {3: torch.tensor(2.0), 5: torch.tensor(6.0)}
one = types.SimpleNamespace(
    compute_loss=lambda model, inputs, return_outputs=False: losses[int((inputs["labels"] != -100).sum())]
)
plugin("CountFirstTokens").post_trainer_create(DictDefault({}), one)
total = one._get_num_items_in_batch(batches, torch.device("cpu"))
assert int(total) == 8
step = sum(one.compute_loss(None, batch, num_items_in_batch=total) for batch in batches)
assert abs(float(step) - (2.0 * 3 + 6.0 * 5) / 8) < 1e-6
assert float(one.compute_loss(None, batches[1])) == 6.0  # an evaluation


# --- the rows of a step, against torch's own DistributedSampler and a count by hand
def epochs(name, rows, accumulation, size, count, **cfg):
    one = trainer(rows, accumulation)
    given = {"micro_batch_size": size, "num_epochs": float(count), **cfg}
    plugin(name).post_trainer_create(DictDefault(given), one)
    assert getattr(one.args, "max_steps", None) == (None if cfg.get("max_steps") else -1)
    sampler = one._get_train_sampler()
    found = []
    for epoch in range(count):
        sampler.set_epoch(epoch)
        found.append(list(sampler))
        assert len(found[-1]) == len(sampler)
    return found


def drawn(rows, epoch):
    sampler = torch.utils.data.DistributedSampler(range(rows), num_replicas=1, rank=0, shuffle=True, seed=0)
    sampler.set_epoch(epoch)
    return list(sampler)


# 23 rows in batches of 2: 11 batches, 2 steps of 4, 3 batches left over
first, second = epochs("CarriedSteps", 23, 4, 2, 2)
order = [drawn(23, epoch) for epoch in (0, 1)]
assert [row for batch in first for row in batch] == order[0][:16]
assert all(len(batch) == 2 for batch in first)
step = [row for batch in second[:4] for row in batch]
assert step == order[0][16:22] + order[1][:8]
assert max(map(len, second[:4])) == 4
assert [row for batch in second[4:] for row in batch] == order[1][8:16]
stored = epochs("CarriedSteps", 5, 1, 2, 2, curriculum_sampling=True)
assert stored == [[[0, 1], [2, 3]]] * 2

first, second = epochs("EvenEpochs", 23, 2, 2, 2, max_steps=6)
assert [row for batch in first for row in batch] == order[0][:12]
assert [row for batch in second for row in batch] == order[1][:12]
assert len(epochs("EvenEpochs", 23, 4, 2, 2, max_steps=4)[0]) == 8  # the last full step's end: nothing is carried
assert epochs("EvenEpochs", 23, 4, 2, 2, max_steps=4)[1][0] == order[1][:2]

assert made_exact.packs([3, 4, 2, 9, 1], 9) == [[0, 1, 2], [3], [4]]
args = types.SimpleNamespace(gradient_accumulation_steps=1, multipack_real_batches=True)
packs = made_exact.packs([3, 4, 2, 9, 1, 8], 9)
apart = made_exact.Batches(packs, args, 2, False, None, True)
assert list(apart) == [[[0, 1, 2], [3]]]
args.multipack_real_batches = False
assert list(apart.__class__(packs, args, 2, False, None, True)) == [[[0, 1, 2, 3]]]


# --- rows
class Letters:
    """A tokenizer: a character a token, but special tokens as one where they count as such."""

    def encode(self, text, add_special_tokens, split_special_tokens):
        assert add_special_tokens is False
        out = []
        while text:
            special = None if split_special_tokens else next((s for s in ("<s>", "<e>") if text.startswith(s)), None)
            out.append(special or text[0])
            text = text[len(special or text[0]) :]
        return out


form = {
    "start": "<s>", "end": "<e>", "train": ["assistant"],
    "turns": {"user": {"before": "U:", "after": "<e>", "strip": True}, "assistant": {"before": "A:", "after": "<e>"}},
    "messages": [{"user": [{"when": "input", "then": ["i ", {"column": "input"}], "else": ["none "]}]},
                 {"assistant": [{"column": "output"}]}],
}  # fmt: skip
text = {"start": "<s>", "text": [{"column": "text"}], "end": "<e>"}
cfg = DictDefault({
    "datasets": [{"path": "a", "type": "made_exact.rows"}, {"path": "x", "type": "alpaca"},
                 {"path": "b", "type": "made_exact.rows"}],
    "exact_rows": [form, text],
})  # fmt: skip
assert plugin("Rows").get_input_args() == "made_exact.RowsArgs"
made_exact.RowsArgs(exact_rows=[form, text])
turns, whole = (load("made_exact.rows", Letters(), cfg, cfg.datasets[at]) for at in (0, 2))
got = turns.tokenize_prompt({"input": None, "output": " x<e>"})
masked, trained = ["<s>", "U", ":", *"none", "<e>"], ["A", ":", *" x<e>", "<e>"]
assert got["input_ids"] == [*masked, *trained, "<e>"]
assert got["labels"] == [-100] * len(masked) + trained + [-100]
assert got["attention_mask"] == [1] * len(got["input_ids"])
assert whole.tokenize_prompt({"text": "a"})["labels"] == ["<s>", "a", "<e>"]
assert whole.tokenize_prompt({"text": ""})["labels"] == [-100, -100]
cfg.sample_packing = True
assert load("made_exact.rows", Letters(), cfg, cfg.datasets[2]).tokenize_prompt({"text": ""})["labels"] == []

chat = {**form, "messages": {"column": "talk", "role": "from", "content": "value", "names": {"gpt": "assistant"}},
        "system": "S", "train_end": "as the turn before it"}  # fmt: skip
chat["turns"] = {**form["turns"], "system": {"before": "S:", "after": "<e>"}}
row = {"talk": [{"from": "user", "value": "q"}, {"from": "gpt", "value": "r"}]}
found = list(made_exact.pieces(DictDefault(chat), row))
assert [text for text, _, _ in found] == ["<s>", "S:", "S", "<e>", "U:", "q", "<e>", "A:", "r", "<e>", "<e>"]
assert [trained for _, _, trained in found][-4:] == [True] * 4
row["talk"].insert(0, {"from": "system", "value": "own"})
assert next(text for text, special, _ in made_exact.pieces(DictDefault(chat), row) if not special) == "own"
dropped = DictDefault({**chat, "drop_system": True})
assert next(text for text, special, _ in made_exact.pieces(dropped, row) if not special) == "S"

ended = DictDefault({**form, "last": {"assistant": {"before": "A:", "strip": "x "}}})
*_, (content, _, _), (after, _, _), (end, _, _) = made_exact.pieces(ended, {"input": None, "output": " ax x"})
assert (content, after, end) == (" a", "", "<e>")

print(json.dumps(sorted(set(asked))))
