"""Axolotl's validators as data: which configs it refuses or warns of, release by release.

Which validators there are, in which order they run and since when they are as they are: schemas/axolotl.validators.json.
What each looks for is written here, by hand; `UNCOVERED` names those that are not, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from msgspec import Struct

from ftmigrate import schema
from ftmigrate.document.model import Unresolved
from ftmigrate.frameworks.axolotl.validators import data, model, plugins, runs, training
from ftmigrate.frameworks.axolotl.validators.model import ADAPTERS
from ftmigrate.frameworks.axolotl.validators.rewrites import PREPARED, REWRITES
from ftmigrate.frameworks.axolotl.validators.settled import Settled
from ftmigrate.frameworks.checks import Check, Found, Plain, Rewrite, find, gate

SCHEMA = "schema"
CHECKS: tuple[Check, ...] = (*data.CHECKS, *training.CHECKS, *model.CHECKS, *runs.CHECKS, *plugins.CHECKS)

_CLOUD = "checks a file for `axolotl train --cloud`, no training config"
_MANIFEST = "checks a manifest that training writes, no training config"
UNCOVERED = {
    "check_npu_config": "refuses what an Ascend NPU cannot do, where there is one",
    "check_flash_attn_available": "looks for flash-attn, where there is a GPU",
    "check_flash_attention_torch_preflight": "looks for a release of transformers",
    "check_mistral_common_import": "looks for the package mistral-common",
    "check_rl_config_gradient_checkpointing": "refuses a combination on more than one GPU",
    "check_fp8": "looks for a GPU and packages that can do FP8",
    "check_compute_capability_w_sageattn": "looks at the GPU's compute capability",
    "check_fp8_attention_preflight": "looks at the GPU's compute capability",
    "normalize_expert_backend": "comes after disable_mlp_kernel, which refuses the same first",
    "CoreWeaveCloudConfig.validate_job": _CLOUD,
    "ModalImageConfig.registry_source": _CLOUD,
    "NebiusVolume.validate_paths": _CLOUD,
    "NebiusCloudConfig.validate_environment": _CLOUD,
    "NebiusCloudConfig.validate_resources": _CLOUD,
    "CloudImageBuild.resolve_paths": _CLOUD,
    "CloudImageConfig.exclusive_source": _CLOUD,
    "TokenizerSpecialIds.validate_special_ids": _MANIFEST,
    "_SlotConfiguration.validate_token_ids": _MANIFEST,
    "SampledTrainingSlots.validate_bounds": _MANIFEST,
    "SampledConfiguredSlots.validate_sampled_contract": _MANIFEST,
    "NoiseReadProtocol.validate_protocol": _MANIFEST,
}
"""Validators that can refuse and have no row, with the reason."""
WARNS_OF_MACHINE = {
    "check_bf16": "looks whether the GPU can do bf16",
    "check_ple_cpu_offload_multi_gpu": "counts the GPUs",
    "check_sample_packing_w_sdpa_bf16": "looks at the GPU's compute capability",
    "check_torch_compile_auto": "looks whether torch is known",
    "check_min_torch_version": "looks at torch's release",
}
"""Validators that only warn, and not of the config."""
PARTLY = {
    "check_quantize_moe_experts": "refuses on GPUs that are not NVIDIA's",
    "check_grpo_batch_size_divisibility": "counts the GPUs where trl.generation_batch_size is not given",
    "check_deepcompile": "reads the file that deepspeed names",
    "check_tensor_parallel_size_update_ds_json": "reads the file that deepspeed names",
    "check_torch_expert_parallel_checkpointing": "looks for the package deep_ep with `expert_parallel_backend: auto`",
    "check_expert_parallel_dispatch_chunks": "looks for the package deep_ep with `expert_parallel_backend: auto`",
    "check_lora_kernels_trust_remote_code": "takes it for some models, known by the files of base_model",
    "check_selective_checkpointing": "some models, known by the files of base_model, get no LoRA kernels",
    "validate_adapter": "other packages may bring adapters",
}
"""What validators with rows look for on the machine besides."""


class Step(Struct, frozen=True):
    """A validator with what is known of it."""

    name: str
    settled: bool
    plugin: str | None
    since: str
    checks: tuple[Check, ...]
    rewrites: tuple[Rewrite, ...]


@cache
def inventory() -> tuple[dict[str, Any], ...]:
    """The validators of the newest release, as pydantic gathers them."""
    return tuple(schema.companion("axolotl", "validators")["validators"])


@cache
def names() -> Mapping[str, str]:
    """What a row may call a validator: its function, where that is one function only, else class and function."""
    found: dict[str, list[str]] = {}
    for row in inventory():
        found.setdefault(row["name"].partition(".")[2], []).append(row["name"])
    short = {function: full[0] for function, full in found.items() if len(full) == 1}
    return short | {row["name"]: row["name"] for row in inventory()}


@cache
def steps() -> tuple[Step, ...]:
    """The validators that have rows, in the order in which they run: before the values are read, then after."""
    checks: dict[str, list[Check]] = {}
    rewrites: dict[str, list[Rewrite]] = {}
    for check in CHECKS:
        checks.setdefault(names()[check.source], []).append(check)
    for rewrite in REWRITES:
        rewrites.setdefault(names()[rewrite.source], []).append(rewrite)
    known = [row for row in inventory() if row["name"] in checks or row["name"] in rewrites]
    own = [row for row in known if not row["model"].startswith("plugin ")]
    brought = [row for row in known if row["model"].startswith("plugin ")]
    before = [row for rows in (own, brought) for row in reversed(rows) if row["mode"] == "before"]
    after = [row for rows in (brought, own) for row in rows if row["mode"] == "after"]
    # a nested mapping is read before anything is checked after reading
    after.sort(key=lambda row: row["model"] == "config" or row["model"].startswith("plugin "))
    return tuple(
        Step(
            row["name"],
            row["mode"] == "after",
            _plugin(row["model"]),
            row["same"],
            tuple(checks.get(row["name"], ())),
            tuple(rewrites.get(row["name"], ())),
        )
        for row in (*before, *after)
    )


def _plugin(section: str) -> str | None:
    return section.rpartition(".")[2] if section.startswith("plugin ") else None


class Noted(dict[str, Any]):
    """A config that notes which of its keys are there or were changed."""

    def __init__(self, tree: Mapping[str, Any]) -> None:
        super().__init__(tree)
        self.touched = set(tree)

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self.touched.add(key)


class Setting(Struct, frozen=True):
    """What is the same for all configs of a release with the same plugins."""

    version: str
    plugins: tuple[str, ...]

    @property
    def known(self) -> dict[str, schema.Facts]:
        found = _plugins(self.version)
        return {name: found[name] for name in self.plugins}

    @property
    def adapters(self) -> list[str]:
        return [name for about in self.known.values() for name in about.get("adapters", ())]

    def views(self, data: Mapping[str, Any]) -> tuple[Plain, Settled]:
        sections = [str(about["section"]) for about in self.known.values()]
        return Plain(data), Settled(data, self.version, sections, (ADAPTERS,))


@cache
def _plugins(version: str) -> dict[str, schema.Facts]:
    """The plugins of a release, by class name."""
    pinned = schema.load("axolotl", version)
    return {
        section.rpartition(".")[2]: {**(pinned.facts(section) or {}), "section": section}
        for section in pinned.names("plugin ")
    }


def active(tree: Mapping[str, Any], version: str) -> tuple[str, ...]:
    """The plugins that a config has, by class name; built-in ones included."""
    listed = tree.get("plugins")
    paths = {item for item in listed if isinstance(item, str)} if isinstance(listed, list) else set()
    return tuple(
        name
        for name, about in _plugins(version).items()
        if about.get("builtin") or paths & {about.get("plugin"), *about.get("also", ())}
    )


class _Gated(NamedTuple):
    """A validator, its rows, each with the keys without which it need not be asked; `needed`: those of all its rows."""

    step: Step
    rows: tuple[tuple[Check, frozenset[str] | None], ...]
    needed: frozenset[str] | None


@cache
def _gated(setting: Setting) -> tuple[_Gated, ...]:
    """The validators that hold there."""
    order = {name: index for index, name in enumerate(schema.versions("axolotl"))}
    plain, settled = setting.views({ADAPTERS: setting.adapters})
    found = []
    for step in steps():
        if order[step.since] > order[setting.version] or (step.plugin and step.plugin not in setting.plugins):
            continue
        view = settled if step.settled else plain
        rows = tuple((one, gate(one.when, view)) for one in step.checks if one.told != SCHEMA)
        keys = [needed for _, needed in rows if needed is not None]
        found.append(_Gated(step, rows, frozenset().union(*keys) if len(keys) == len(rows) else None))
    return tuple(found)


def check(tree: Mapping[str, Any], version: str) -> Iterator[Found]:
    """What the validators of a release refuse or warn of in a config, in the order in which they run.

    Only validators are asked whose code is known to be that release's. Axolotl itself stops at the first refusal.
    """
    setting = Setting(version, active(tree, version))
    seen = Noted(tree)
    seen[ADAPTERS] = setting.adapters
    seen.touched.discard(ADAPTERS)  # as in an empty config with the same plugins
    rewritable = not any(isinstance(value, Unresolved) for value in tree.values())
    for plugin in setting.plugins if rewritable else ():
        if plugin in PREPARED:
            PREPARED[plugin](seen)
    plain, settled = setting.views(seen)
    for step, rows, together in _gated(setting):
        if together is None or not together.isdisjoint(seen.touched):
            view = settled if step.settled else plain
            for one, needed in rows:
                if (needed is None or not needed.isdisjoint(seen.touched)) and (found := find(one, view, tree)):
                    yield found
        for rewrite in step.rewrites if rewritable else ():
            rewrite.apply(seen)
