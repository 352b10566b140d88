"""Generated torchtune configs: plausible, and in every odd form that YAML, OmegaConf and the command line allow."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

RECIPES = (
    "full_finetune_single_device",
    "full_finetune_distributed",
    "lora_finetune_single_device",
    "lora_finetune_distributed",
)

_LORA = ("llama3_1.lora_llama3_1_8b", "llama2.qlora_llama2_7b", "qwen2_5.lora_qwen2_5_7b_instruct", "phi3.lora_phi3_mini",
         "gemma.lora_gemma_2b", "llama3_2.qlora_llama3_2_1b", "mistral.lora_mistral_7b")  # fmt: skip
_FULL = (
    "llama3_1.llama3_1_8b",
    "llama2.llama2_7b",
    "qwen2_5.qwen2_5_7b_instruct",
    "phi3.phi3_mini",
    "gemma2.gemma2_9b",
)
_TOKENIZERS = ("llama3.llama3_tokenizer", "llama2.llama2_tokenizer", "qwen2_5.qwen2_5_tokenizer",
               "phi3.phi3_mini_tokenizer", "gemma.gemma_tokenizer", "mistral.mistral_tokenizer")  # fmt: skip
_OPTIMIZERS = ("torch.optim.AdamW", "torch.optim.SGD", "bitsandbytes.optim.PagedAdamW8bit", "torch.optim.Adagrad",
               "torchao.optim.AdamW4bit", "mylib.optim.Own")  # fmt: skip
_LOGGERS = ("WandBLogger", "DiskLogger", "StdoutLogger", "TensorBoardLogger", "CometLogger", "MLFlowLogger", "Other")
_LOSSES = ("torchtune.modules.loss.CEWithChunkedOutputLoss", "torch.nn.CrossEntropyLoss", "mylib.Loss")
_MODULES = ("q_proj", "k_proj", "v_proj", "output_proj")


def _text() -> st.SearchStrategy[str]:
    return st.sampled_from(
        (
            "text",
            "a b",
            "runs/x",
            "data/rows.jsonl",
            "yes",
            "1e-5",
            "null",
            "~",
            "é",
            "10:30",
            "# no",
            "a: b",
            " x ",
            "0x1f",
        )
    )


def scalars() -> st.SearchStrategy[Any]:
    """Values of every type, sensible or not."""
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-2, 3000),
        st.sampled_from((0.0, 0.5, 1.0, 2e-5, 1e-08, 3.5, -1.0)),
        _text(),
    )


def _wild(value: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly a value of the right kind, at times anything."""
    anything = st.one_of(scalars(), st.lists(scalars(), max_size=3), st.just({}), st.dictionaries(_NAMES, scalars()))
    return st.integers(0, 19).flatmap(lambda n: anything if n == 0 else value)


_NAMES = st.sampled_from(("gradient_clip", "note", "extra", "model_dir", "n", "_x"))
_NUMBER = st.integers(1, 2000)
_FRACTION = st.sampled_from((0.0, 0.1, 1e-5, 2e-4, 1.0))


def _component(paths: tuple[str, ...], **arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A component with some of its arguments, and now and then one that it does not take."""
    wild = {name: _wild(value) for name, value in arguments.items()}
    return st.fixed_dictionaries({"_component_": st.sampled_from(paths)}, optional={**wild, "no_argument": scalars()})


def _under(prefix: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{prefix}.{name}" for name in names)


@cache
def _dataset() -> st.SearchStrategy[dict[str, Any]]:
    load = {
        "split": st.sampled_from(("train", "train[:95%]", "validation")),
        "data_files": st.one_of(_text(), st.lists(_text(), min_size=1, max_size=2)),
        "name": _text(),
        "data_dir": _text(),
        "packed": st.booleans(),
        "max_rows": _NUMBER,
    }
    columns = st.dictionaries(st.sampled_from(("input", "output", "instruction")), _text(), max_size=3)
    return st.one_of(
        _component(
            _under(
                "torchtune.datasets", ("alpaca_dataset", "alpaca_cleaned_dataset", "instruct_dataset", "samsum_dataset")
            ),
            source=_text(),
            train_on_input=st.booleans(),
            column_map=columns,
            new_system_prompt=_text(),
            **load,
        ),
        _component(
            ("torchtune.datasets.chat_dataset",),
            source=_text(),
            conversation_column=_text(),
            conversation_style=st.sampled_from(("sharegpt", "openai")),
            train_on_input=st.booleans(),
            new_system_prompt=_text(),
            **load,
        ),
        _component(
            ("torchtune.datasets.text_completion_dataset",),
            source=_text(),
            column=_text(),
            add_eos=st.booleans(),
            split_across_pack=st.booleans(),
            **load,
        ),
        _component(("mylib.own_dataset", "torchtune.datasets.slimorca_dataset"), source=_text(), **load),
    )


@cache
def _sections(lora: bool) -> dict[str, st.SearchStrategy[Any]]:
    adapter = {
        "lora_attn_modules": st.lists(st.sampled_from(_MODULES), min_size=1, unique=True),
        "apply_lora_to_mlp": st.booleans(),
        "apply_lora_to_output": st.booleans(),
        "lora_rank": _NUMBER,
        "lora_alpha": _NUMBER,
        "lora_dropout": _FRACTION,
        "use_dora": st.booleans(),
        "quantize_base": st.booleans(),
    }
    dataset = _dataset()
    return {
        "output_dir": _text(),
        "model": _component(_under("torchtune.models", _LORA if lora else _FULL), **(adapter if lora else {})),
        "tokenizer": _component(
            _under("torchtune.models", _TOKENIZERS),
            path=_text(),
            max_seq_len=_NUMBER,
            prompt_template=st.sampled_from(("torchtune.data.ChatMLTemplate", "torchtune.models.llama2.Llama2ChatTemplate")),
        ),
        "checkpointer": _component(
            _under("torchtune.training", ("FullModelHFCheckpointer", "FullModelMetaCheckpointer")),
            checkpoint_dir=_text(),
            checkpoint_files=st.one_of(
                st.lists(_text(), min_size=1, max_size=2),
                st.just({"filename_format": "model-{}-of-{}.safetensors", "max_filename": "00004"}),
            ),
            output_dir=_text(),
            model_type=st.sampled_from(("LLAMA3", "QWEN2", "PHI3_MINI")),
            recipe_checkpoint=_text(),
            adapter_checkpoint=_text(),
        ),
        "dataset": st.one_of(dataset, st.lists(dataset, min_size=1, max_size=3)),
        "dataset_val": dataset,
        "run_val_every_n_steps": _NUMBER,
        "optimizer": _component(
            _OPTIMIZERS,
            lr=_FRACTION,
            weight_decay=_FRACTION,
            betas=st.lists(_FRACTION, min_size=2, max_size=2),
            eps=_FRACTION,
            fused=st.booleans(),
            foreach=st.booleans(),
            momentum=_FRACTION,
        ),
        "lr_scheduler": _component(
            ("torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup", "mylib.schedule"),
            num_warmup_steps=_NUMBER,
            num_cycles=_FRACTION,
        ),
        "loss": _component(_LOSSES, num_output_chunks=_NUMBER, ignore_index=st.just(-100)),
        "metric_logger": _component(
            _under("torchtune.training.metric_logging", _LOGGERS),
            project=_text(),
            log_dir=_text(),
            name=_text(),
            group=_text(),
        ),
        "profiler": st.fixed_dictionaries({"enabled": st.booleans()}, optional={"num_cycles": _NUMBER}),
        **dict.fromkeys(("batch_size", "gradient_accumulation_steps", "epochs", "log_every_n_steps"), _NUMBER),
        "max_steps_per_epoch": st.one_of(st.none(), _NUMBER),
        "clip_grad_norm": st.one_of(st.none(), _FRACTION, st.just("inf")),
        "seed": st.one_of(st.none(), _NUMBER),
        "dtype": st.sampled_from(("bf16", "fp32")),
        "device": st.sampled_from(("cuda", "cpu", "cuda:1")),
        "compile": st.one_of(st.booleans(), st.dictionaries(st.sampled_from(("model", "loss")), st.booleans())),
        **dict.fromkeys(
            ("shuffle", "resume_from_checkpoint", "enable_activation_checkpointing", "enable_activation_offloading",
             "optimizer_in_bwd", "fsdp_cpu_offload", "save_adapter_weights_only", "log_peak_memory_stats"),
            st.booleans(),
        ),
        "custom_sharded_layers": st.lists(st.sampled_from(("tok_embeddings", "output")), max_size=2),
        "tensor_parallel_dim": _NUMBER,
    }  # fmt: skip


@dataclass(frozen=True)
class Generated:
    """A config with the overrides of its command line. `told` is the recipe named outside the file."""

    text: str
    overrides: tuple[str, ...] = ()
    told: str | None = None

    def tree(self) -> dict[str, Any]:
        """What OmegaConf makes of it, as torchtune's own command line merges it: the independent second opinion."""
        plain = OmegaConf.to_container(OmegaConf.load(io.StringIO(self.text)), resolve=False)
        assert isinstance(plain, dict)
        dots = []
        for override in self.overrides:
            if override.startswith("~"):
                *parents, last = override[1:].split(".")
                node: Any = plain
                for key in parents:
                    node = node[key]
                del node[last]
                continue
            key, value = override.split("=")
            if isinstance(plain.get(key), dict) and "_component_" in plain[key]:
                key += "._component_"
            dots.append(f"{key}={value}")
        merged = OmegaConf.merge(OmegaConf.create(plain), OmegaConf.from_dotlist(dots))
        try:
            found = OmegaConf.to_container(merged, resolve=True)
        except OmegaConfBaseException:
            found = OmegaConf.to_container(merged, resolve=False)
        assert isinstance(found, dict)
        return {str(key): value for key, value in found.items()}


def leaves(value: Any, path: str = "") -> list[str]:
    """The leaves of a plain tree: scalars, lists of scalars, empty collections."""
    if isinstance(value, dict) and value:
        return [leaf for key, item in value.items() for leaf in leaves(item, f"{path}.{key}" if path else str(key))]
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return [leaf for index, item in enumerate(value) for leaf in leaves(item, f"{path}[{index}]")]
    return [path]


def _dump(tree: dict[str, Any]) -> str:
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


@st.composite
def configs(draw: st.DrawFn) -> Generated:
    """A config for one of the recipes that are converted."""
    recipe = draw(st.sampled_from(RECIPES))
    sections = _sections("lora" in recipe)
    few = st.sets(st.sampled_from(sorted(sections)), max_size=6)
    left_out = draw(few)
    tree = {name: draw(_wild(value)) for name, value in sections.items() if name not in left_out}
    tree |= draw(st.dictionaries(_NAMES, _wild(scalars()), max_size=2))
    text = _odd(draw, tree)
    named = draw(st.sampled_from(("header", "told", "not")))
    if named == "header":
        hub = "# tune download org/name --output-dir runs/x\n" if draw(st.booleans()) else ""
        text = f"{hub}# tune run {recipe} --config this.yaml\n\n{text}"
    overrides = _overrides(draw, text)
    return Generated(text, overrides, recipe if named == "told" else None)


def _odd(draw: st.DrawFn, tree: dict[str, Any]) -> str:
    """The tree as text, with interpolations, anchors, aliases and merge keys."""
    if draw(st.booleans()):
        target = draw(st.sampled_from(sorted(tree)))
        names = [name for name in tree if name != target and isinstance(tree[name], dict)]
        simple = not isinstance(tree[target], dict | list) and "${" not in str(tree[target])
        if names and simple:
            holder = draw(st.sampled_from(names))
            tree[holder]["via"] = draw(st.sampled_from((f"${{{target}}}", f"x/${{{target}}}/y", "${.._component_}")))
        elif names:
            tree["whole"] = f"${{{target}}}"
    if "whole" not in tree and draw(st.integers(0, 9)) == 0:
        tree["lost"] = draw(st.sampled_from(("${no_such_key}", "${oc.env:FTMIGRATE_NOT_SET}", "???")))
    text = _dump(tree)
    shared = draw(st.sampled_from(("", "alias", "merge", "comment")))
    if shared == "alias":
        text = f"common: &common\n  a: 1\n  b: [x, y]\n{text}again: *common\nlisted: [*common, *common]\n"
    elif shared == "merge":
        text = f"base: &base\n  lr: 0.001\n  fused: true\n{text}own:\n  <<: *base\n  lr: 0.002\n"
    elif shared == "comment":
        text = "\n".join(f"{line}  # note" if line.endswith(("true", "false")) else line for line in text.split("\n"))
    return text


def _overrides(draw: st.DrawFn, text: str) -> tuple[str, ...]:
    if draw(st.integers(0, 2)):
        return ()
    tree = Generated(text).tree()
    simple = [key for key, old in tree.items() if not isinstance(old, dict | list) and key != "output_dir"]
    holders = [key for key, old in tree.items() if isinstance(old, dict)]
    found: dict[str, str] = {}  # each key once: a list over a mapping is refused
    kinds = st.sampled_from(("set", "nested", "new", "component", "remove"))
    for kind in draw(st.lists(kinds, min_size=1, max_size=3)):
        value = draw(st.sampled_from(("1", "2e-5", "true", "null", "text", "[1,2]", "{a: 1}", "${output_dir}")))
        if kind == "set" and simple:
            key = draw(st.sampled_from(simple))
            found[key] = f"{key}={value}"
        elif kind == "nested" and holders:
            key = draw(st.sampled_from(holders)) + ".told"
            found[key] = f"{key}={value}"
        elif kind == "new":
            found["brand_new"] = f"brand_new={value}"
        elif kind == "component" and "optimizer" in holders and "_component_" in tree["optimizer"]:
            found["optimizer"] = "optimizer=torch.optim.SGD"
        elif kind == "remove" and "seed" in tree:
            found["seed"] = "~seed"
    return tuple(found.values())
