"""An Axolotl run as configured, measured on a device. Loaded by probe.py, without ftmigrate.

As in a trial (probe_trial.py) model files, tokenizer and rows are replaced; precision and optimizer are the config's
own, and on a GPU attention, kernels and compilation too. On a CPU those are off.
"""

import contextlib
import copy
from importlib import import_module
from typing import Any

_PRECISION = ("bf16", "fp16", "bfloat16", "float16")
_NEEDS_GPU = (
    "flash_attention", "xformers_attention", "sdp_attention", "flex_attention", "eager_attention", "s2_attention",
    "flash_attn_cross_entropy", "flash_attn_rms_norm", "flash_attn_fuse_qkv", "flash_attn_fuse_mlp",
    "torch_compile", "torch_compile_backend", "torch_compile_mode", "tf32", "activation_offloading", "layer_offloading",
    "lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel", "unsloth_cross_entropy_loss",
    "attn_implementation", "plugins", "optimizer",
)  # fmt: skip


def measure(request: dict[str, Any], inside: Any, measuring: Any, trial: Any) -> dict[str, Any]:
    meter = measuring.Meter(request["steps"], request["device"], inside.Stop)
    gpu = request["device"] != "cpu"

    class Measured(trial.Trial):  # type: ignore[misc]
        def _config(self) -> dict[str, Any]:
            original = copy.deepcopy(self.request["config"])
            config: dict[str, Any] = super()._config()
            for key in _PRECISION:
                config.pop(key, None)
                if key in original:
                    config[key] = original[key]
            if gpu:
                for key in _NEEDS_GPU:
                    config.pop(key, None)
                taken = [key for key in original if key in _NEEDS_GPU or "liger" in key or "cut_cross" in key]
                config.update({key: original[key] for key in taken})
            return config | {"logging_steps": 1}

        def _train(self, cfg: Any, trainer: Any, resume: Any) -> None:
            self.make_ready(cfg, trainer)
            write = trainer.log

            def log(values: dict[str, Any], *args: Any, **kwargs: Any) -> None:
                meter.logged(values)
                write(values, *args, **kwargs)

            trainer.log = log
            step = trainer.training_step

            def training_step(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
                meter.count(inputs)  # not where batches are made: that may be in other processes
                return step(model, inputs, *args, **kwargs)

            trainer.training_step = training_step
            meter.begin()
            with contextlib.suppress(inside.Stop):
                trainer.train(resume_from_checkpoint=None)
            self.answer = meter.answer(int(trainer.args.gradient_accumulation_steps), int(trainer.state.max_steps))
            raise inside.Stop

    if not gpu:
        import_module("torch._dynamo").config.disable = True
    one = Measured({**request, "level": "train" if request["pinned"] else "plan"}, inside)
    return one.run()  # type: ignore[no-any-return]
