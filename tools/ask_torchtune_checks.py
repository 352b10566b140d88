"""Give configs to the recipes of an installed torchtune, and tell which of their statements refuse one.

    TORCHTUNE_PYTHON tools/ask_torchtune_checks.py < QUESTIONS > ANSWERS

Runs in torchtune's own environment, on the CPU. QUESTIONS is a JSON list of `{"recipe": R, "config": {...}}`; ANSWERS one
of null or `{"file", "function", "error", "message"}`: the first `raise` or `assert` of torchtune's that ran. What is run
are a recipe's `__init__` and those of its steps that look at the config; models, tokenizers and data sets are stand-ins,
and `{directory}` in a text is a directory with a checkpoint in it.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest.mock import MagicMock

os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT="29531")
CHECKPOINTERS = ("checkpointer", "ref_checkpointer", "teacher_checkpointer")


def module(name: str) -> Any:
    """A module of torchtune's environment; the type checker does not have it."""
    return importlib.import_module(name)


def recipe(name: str) -> Any:
    """A recipe's module, from its file."""
    file = Path(module("torchtune").__file__).parent.parent / "recipes" / f"{name}.py"
    spec = importlib.util.spec_from_file_location("recipe_" + name.replace("/", "_"), file)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def recipe_class(loaded: Any) -> Any:
    return next(
        value
        for value in vars(loaded).values()
        if isinstance(value, type) and value.__module__ == loaded.__name__ and hasattr(value, "setup")
    )


class StandIns:
    """Instead of `config.instantiate`: light objects for what is large, the real thing for the rest."""

    def __init__(self, real: Callable[..., Any]) -> None:
        self.real = real

    def __call__(self, node: Any, *arguments: Any, **keywords: Any) -> Any:
        path = str(node.get("_component_", "")) if node is not None else ""
        if path.startswith("torchtune.datasets."):
            packed = module("torchtune.datasets").PackedDataset
            made: Any = packed.__new__(packed) if node.get("packed") else [1, 2, 3, 4]
            if node.get("packed"):
                made.packs = [1, 2, 3, 4]
            return made
        if path.startswith("torchtune.models."):
            return MagicMock() if "tokenizer" in path or "transform" in path else self.model(node)
        if "Checkpointer" in path or ".metric_logging." in path:
            return MagicMock(spec=module("torchtune.config")._utils._get_component_from_path(path))
        return self.real(node, *arguments, **keywords)

    def model(self, node: Any) -> Any:
        nn = module("torch").nn
        model = nn.Module()
        kind = module("torchtune.modules.peft").DoRALinear if node.get("use_dora") else None
        model.layers = nn.ModuleList([kind(8, 8, rank=2, alpha=2) if kind else nn.Linear(8, 8)])
        return model


def stages(loaded: Any, name: str, cfg: Any, loading: list[str]) -> Iterator[Callable[[], Any]]:
    """What is run, one after the other."""
    config = module("torchtune.config")
    cls = recipe_class(loaded)
    held: list[Any] = []
    yield lambda: held.append(cls(cfg))
    made = held[0] if held else cls.__new__(cls)
    for key in loading:
        yield lambda key=key: config.instantiate(cfg[key])  # type: ignore[misc]
    loaded.config = MagicMock(wraps=config)
    loaded.config.instantiate = StandIns(config.instantiate)
    if hasattr(cls, "_setup_profiler"):
        yield lambda: made._setup_profiler(cfg.get("profiler"))
    if hasattr(cls, "_setup_checkpointers"):
        yield lambda: made._setup_checkpointers(*(cfg[key] for key in cfg if key.endswith("checkpointer")))
    if hasattr(cls, "_setup_training_parameters"):
        made._dataloader, made._optimizer_in_bwd = [1], cfg.get("optimizer_in_bwd", False)
        yield lambda: made._setup_training_parameters(cfg)
    if name.startswith("dev/lora"):
        yield lambda: made._setup_data(cfg.dataloader, cfg.datasets, cfg.batch_size)
    elif "collate_fn" in cfg or type(cfg.get("dataset")).__name__ == "ListConfig":
        made._tokenizer, made._loss_fn = MagicMock(), MagicMock()
        given = {"collate_fn": cfg.get("collate_fn", "torchtune.data.padded_collate_sft")}
        given["dataloader_state_dict"] = None
        wanted = cls._setup_data.__code__.co_varnames[: cls._setup_data.__code__.co_argcount]
        given = {key: value for key, value in given.items() if key in wanted}
        yield lambda: made._setup_data(cfg_dataset=cfg.dataset, shuffle=True, batch_size=1, **given)
    if "ac_mode" in cfg and not cfg.get("enable_activation_checkpointing"):
        training, model = module("torchtune.training"), loaded.config.instantiate.model({})
        yield lambda: training.apply_selective_activation_checkpointing(model, cfg.ac_mode, cfg.get("ac_option"))
    if name == "qat_distributed":
        made._compile = False
        yield lambda: made._setup_model(cfg.model, False, False, False, True, {}, quantizer_cfg=cfg.get("quantizer"))
    if name == "qat_lora_finetune_distributed":
        yield lambda: made._convert_model_to_qat(loaded.config.instantiate.model(cfg.model), cfg.quantizer)
    if name in ("generate", "knowledge_distillation_single_device"):
        for step in ("load_checkpoint", "load_teacher_checkpoint", "_setup_model", "_setup_teacher_model"):
            setattr(made, step, MagicMock())
        for step in ("_setup_optimizer", "_setup_data", "_setup_lr_scheduler", "_update_recipe_state"):
            setattr(made, step, MagicMock())
        yield lambda: made.setup(cfg)


def refusal(error: BaseException, root: Path) -> dict[str, str] | None:
    """Where torchtune said no; None for an error that a stand-in caused."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    assert trace is not None
    file = Path(trace.tb_frame.f_code.co_filename)
    if not any(file.is_relative_to(root / part) for part in ("torchtune", "recipes")):
        return None
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise | ast.Assert) and node.lineno <= trace.tb_lineno <= (node.end_lineno or 0):
            path = str(file.relative_to(root))
            told = {"file": "recipes" if path.startswith("recipes/") else path}
            told |= {"function": trace.tb_frame.f_code.co_name, "error": type(error).__name__}
            return told | {"message": str(error)[:300]}
    return None


def placed(value: Any, directory: str) -> Any:
    if isinstance(value, str):
        return value.replace("{directory}", directory)
    if isinstance(value, dict):
        return {key: placed(item, directory) for key, item in value.items()}
    return [placed(item, directory) for item in value] if isinstance(value, list) else value


def ask(question: dict[str, Any], root: Path) -> dict[str, str] | None:
    with tempfile.TemporaryDirectory() as directory:
        for name in ("a.pt", "b.pt"):
            module("torch").save({}, Path(directory) / name)
        (Path(directory) / "config.json").write_text("{}", encoding="utf-8")
        cfg = module("omegaconf").OmegaConf.create(placed(question["config"], directory))
        loaded = recipe(question["recipe"])
        loaded.init_process_group = lambda *arguments, **keywords: None
        loading = [key for key in CHECKPOINTERS if "{directory}" in json.dumps(question["config"].get(key))]
        for stage in stages(loaded, question["recipe"], cfg, loading):
            try:
                stage()
            except Exception as error:
                if found := refusal(error, root):
                    return found
                print(f"{question['recipe']}: {type(error).__name__}: {error}", file=sys.stderr)
    return None


def main() -> int:
    questions = json.load(sys.stdin)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    module("torch.distributed").init_process_group("gloo")
    root = Path(module("torchtune").__file__).parent.parent
    json.dump([ask(question, root) for question in questions], answers)
    answers.flush()
    return 0


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)
