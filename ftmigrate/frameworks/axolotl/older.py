"""What releases of Axolotl before 0.21.0 say or do otherwise: rows with the versions they hold for.

Files named are those of the releases spoken of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from ftmigrate import schema
from ftmigrate.document.model import Value
from ftmigrate.frameworks.reader import Reader
from ftmigrate.frameworks.table import ABSENT, Between, Entry, Field, Group, Keys, Private, Unread, reading
from ftmigrate.run.conditions import Condition, is_
from ftmigrate.run.methods import SUPERVISED
from ftmigrate.run.source import Decoded

_FSDP = is_("parallel.strategy", "fsdp1", "fsdp2")
_VERSION_KEYS = ("fsdp_version", "fsdp_config.fsdp_version", "fsdp_config.version")
_POLICY_KEYS = ("fsdp_config.auto_wrap_policy", "fsdp_config.fsdp_auto_wrap_policy")


# --- sharding ---------------------------------------------------------------------------------------------------


def strategy(
    keys: Keys, reader: Reader, launched: Callable[[Reader], int | None], alone: bool
) -> Mapping[str, Decoded]:
    """The list `fsdp`, and from 0.12.0 on fsdp_config without it (alone), switch FSDP on: version 1 unless 2 is said."""
    policy = [key for key in _POLICY_KEYS if key in keys]
    by_size = policy and keys[policy[0]] == "SIZE_BASED_WRAP"
    wrapping = Decoded("by size" if by_size else "transformer layers", tuple(policy))
    told = [key for key in _VERSION_KEYS if keys.get(key) is not None]
    if keys.get("fsdp") or (alone and reader.present("fsdp_config")):
        second = bool(told) and str(keys[told[0]]) == "2"
        used = tuple(key for key in ("fsdp", *told) if keys.get(key)) or ("fsdp_config",)
        return {"parallel.strategy": Decoded("fsdp2" if second else "fsdp1", used), "parallel.wrapping": wrapping}
    if "deepspeed" in keys:
        return {"parallel.strategy": Decoded("deepspeed", ("deepspeed",)), "parallel.wrapping": wrapping}
    world = launched(reader)
    by_launch = "single or ddp, as launched" if world is None else "single" if world == 1 else "ddp"
    return {"parallel.strategy": Decoded(by_launch), "parallel.wrapping": wrapping}


STRATEGY_KEYS = ("fsdp", *_VERSION_KEYS, *_POLICY_KEYS, "deepspeed")


def _lists(option: str) -> Condition:
    def holds(view: Any) -> bool:
        listed = view.or_default("fsdp") if hasattr(view, "or_default") else None
        return option in (listed.split() if isinstance(listed, str) else listed or ())

    return Condition(f"fsdp lists {option}", holds)


_FSDP1_OPTIONS = {
    "sync_module_states": "how the devices come to the same weights at the start",
    "use_orig_params": "how weights are laid out in memory",
    "limit_all_gathers": "how many weights are gathered ahead",
    "backward_prefetch": "when weights are gathered in the backward pass",
    "backward_prefetch_policy": "when weights are gathered in the backward pass",
    "forward_prefetch": "when weights are gathered in the forward pass",
}

FSDP: tuple[Between, ...] = (
    Between(None, "0.20.0", (
        Field("fsdp", "parallel.reshard_after_forward", reading(lambda _: False), absent=ABSENT,
              when=_lists("shard_grad_op"), write=False),
        Field("fsdp", "parallel.cpu_offload", reading(lambda _: True), absent=ABSENT, when=_lists("offload"),
              write=False),
        Unread("fsdp", "empty: no sharding"),
        *(
            Unread(f"fsdp_config.{prefix}sharding_strategy", "not read: the list fsdp names the strategy")
            for prefix in ("", "fsdp_")
        ),
        *(
            Unread(f"fsdp_config.{prefix}{name}", f"{words}: no effect on what is trained")
            for name, words in _FSDP1_OPTIONS.items()
            for prefix in ("", "fsdp_")
        ),
    )),
    Between("0.20.0", None, (
        Private("fsdp", "FSDP1 is gone, fsdp_config takes its place: refused since Axolotl 0.20",
                off=(None, False, "", [])),
        *(
            Private(f"fsdp_config.{prefix}{name}", "refused: FSDP1 is gone", off=(None,))
            for name in ("sharding_strategy", "forward_prefetch")
            for prefix in ("", "fsdp_")
        ),
        *(
            Unread(f"fsdp_config.{prefix}{name}", "an option of FSDP1: dropped with a warning")
            for name in _FSDP1_OPTIONS if name != "forward_prefetch"
            for prefix in ("", "fsdp_")
        ),
    )),
)  # fmt: skip


# --- the loss over accumulated micro batches --------------------------------------------------------------------

_MEAN = "mean of micro batches"
_EVEN = {"use_eaft": True, "eaft_alpha": 0.0}


def normalisation(
    keys: Keys, reader: Reader, tokens: Callable[[Reader], Mapping[str, Decoded]]
) -> Mapping[str, Decoded]:
    """core/trainers/base.py of 0.17 to 0.19 looks for num_items_in_batch in forward(), where no model names it.

    A loss of its own is told the number of tokens all the same: that of use_eaft, whose weights are 1 at alpha 0.
    """
    counted = tokens(reader)["gradient.loss_normalisation"]
    if reader.get("method.name") not in SUPERVISED or reader.get("batch.accumulation") == 1:
        return {"gradient.loss_normalisation": counted}
    if keys.get("use_eaft"):
        args = tuple(key for key in _EVEN if key in keys) if keys.get("eaft_alpha") == 0 else ("use_eaft",)
        return {"gradient.loss_normalisation": Decoded(counted.value, args, "use_eaft with alpha 0 weights all alike")}
    why = "each micro batch counts alike, however many tokens it holds"
    return {"gradient.loss_normalisation": Decoded(_MEAN, (), why)}


def propose_normalisation(wanted: Mapping[str, Any], reader: Reader) -> Iterator[Mapping[str, Value]]:
    if str(wanted.get("gradient.loss_normalisation")).startswith("tokens of the step"):
        yield dict(_EVEN)


def accumulated(tokens: Callable[[Reader], Mapping[str, Decoded]]) -> Group:
    return Group(
        ("use_eaft", "eaft_alpha"),
        ("gradient.loss_normalisation",),
        lambda keys, reader: normalisation(keys, reader, tokens),
        propose_normalisation,
    )


# --- keys that later releases refuse ----------------------------------------------------------------------------


def _refused(
    key: str, since: str, effect: str, why: str, *, off: tuple[object, ...] = (None, False)
) -> tuple[Between, ...]:
    """A key with its effect until a release, and refused from then on."""
    gone = f"{why}: refused since Axolotl {since.rsplit('.', 1)[0]}"
    return (
        Between(None, since, (Private(key, effect, off=off),)),
        Between(since, None, (Private(key, gone, off=off),)),
    )


_UNSLOTH = {
    "cross_entropy_loss": "the loss", "lora_mlp": "adapters of MLP layers", "lora_o": "adapters of o_proj",
    "lora_qkv": "adapters of q_proj, k_proj and v_proj", "rms_norm": "norms", "rope": "rotary positions",
}  # fmt: skip

REFUSED: tuple[Entry | Between, ...] = (
    Private("max_packed_sequence_len", "packing is sample_packing: refused"),
    Private("rope_scaling", "it belongs under model_config: refused", off=(None, False, {}, "")),
    *_refused("s2_attention", "0.17.0", "attention is shifted and sparse", "shifted sparse attention is gone"),
    *_refused("flash_attn_rms_norm", "0.17.0", "speed: a fused kernel computes norms", "this kernel is gone"),
    *_refused("dpo_use_logits_to_keep", "0.15.0", "memory: logits of prompts are not computed", "TRL has it no more",
              off=(None,)),
    *_refused("dpo_generate_during_eval", "0.15.0", "replies are generated in evaluation", "TRL has it no more",
              off=(None,)),
    *_refused("dpo_norm_loss", "0.16.0", "the preference loss is divided by the length of the replies",
              "TRL has it no more", off=(None,)),
    *_refused("rpo_alpha", "0.16.0", "weight of the likelihood term in the preference loss",
              "TRL wants several loss types for it", off=(None,)),
    Between(None, "0.14.0", (
        Field("save_safetensors", "saving.safetensors", absent=True, quiet=True),
    )),
    Between("0.14.0", None, (
        Private("save_safetensors", "weights are always safetensors, false is refused since Axolotl 0.14",
                off=(None, True)),
    )),
    *(
        row
        for name, what in _UNSLOTH.items()
        for row in _refused(f"unsloth_{name}", "0.17.0", f"speed: Unsloth's kernels for {what}",
                            "the lora_*_kernel keys take its place")
    ),
)  # fmt: skip


# --- what a version does not take together ----------------------------------------------------------------------


class Objection(Struct, frozen=True):
    """From a release on, a key is refused with what else the config says. value: only this one is."""

    since: str
    keys: tuple[str, ...]
    value: object
    holds: Callable[[Reader], bool]
    why: str


def _staged(reader: Reader) -> bool:
    several = any(reader.get(f"parallel.{name}") not in (1, None) for name in ("tensor", "context", "replicate"))
    beside = reader.value("lora_modules_to_save") is not ABSENT and bool(reader.value("lora_modules_to_save"))
    return reader.get("model.quantization") == "nf4" and (bool(reader.get("adapter.use_dora")) or beside or several)


OBJECTIONS: tuple[Objection, ...] = (
    Objection(
        "0.20.0",
        ("fsdp_config.cpu_ram_efficient_loading", "fsdp_config.fsdp_cpu_ram_efficient_loading"),
        True,
        _staged,
        "since 0.20.0 4-bit weights are loaded by parts neither with DoRA nor with lora_modules_to_save nor with a "
        "second kind of parallelism (STAGED_NF4_CONSTRAINTS): each device loads the whole model",
    ),
    Objection("0.14.0", ("save_safetensors",), False, lambda _: True,
              "save_safetensors: false is refused since 0.14.0, weights are always safetensors"),
    *(
        Objection("0.19.0", ("optimizer",), name, lambda reader: reader.get("parallel.strategy") == "fsdp2",
                  f"{name} of bitsandbytes is refused with FSDP2 (check_fsdp2_w_8bit_optimizer)")
        for name in ("adamw_bnb_8bit", "adamw_8bit")
    ),
)  # fmt: skip


def objects(reader: Reader) -> Mapping[str, str]:
    return {
        key: one.why
        for one in OBJECTIONS
        if at_least(reader.version, one.since)
        for key in one.keys
        if reader.value(key) == one.value and one.holds(reader)
    }


class Refusal(Struct, frozen=True):
    """From a release on, what a config says as a whole is refused; why, and the nearest thing."""

    since: str
    holds: Callable[[Reader], bool]
    why: str


def _falcon(reader: Reader) -> bool:
    return "falcon" in str(reader.value("base_model")).lower() and reader.get("parallel.strategy") == "fsdp2"


def _experts_sharded(reader: Reader) -> bool:
    experts = reader.value("expert_parallel_size")
    return isinstance(experts, int) and experts > 1 and reader.get("saving.sharded") is True and _FSDP.holds(reader)


REFUSALS: tuple[Refusal, ...] = (
    Refusal("0.20.0", _falcon,
            "Axolotl refuses FSDP for Falcon models since 0.20.0 (check_falcon_fsdp), where FSDP2 is the only one. "
            "Nearest: DeepSpeed in its place (deepspeed: deepspeed_configs/zero3_bf16.json, without fsdp_config), "
            "or one GPU"),
    Refusal("0.20.0", _experts_sharded,
            "with expert_parallel_size above 1 Axolotl takes fsdp_config.state_dict_type: FULL_STATE_DICT only, since "
            "0.20.0: sharded checkpoints would keep the experts of the first group alone. Set it, if whole checkpoints "
            "fit into memory"),
)  # fmt: skip


def refused(reader: Reader) -> str | None:
    found = (one.why for one in REFUSALS if at_least(reader.version, one.since) and one.holds(reader))
    return next(found, None)


def at_least(version: str, release: str) -> bool:
    order = schema.versions("axolotl")
    return order.index(version) >= order.index(release)


# --- chat templates ---------------------------------------------------------------------------------------------

TEMPLATES_SINCE: Mapping[str, str] = {
    "alpaca": "0.7.0",
    "exaone4": "0.18.0",
    "falcon_h1": "0.18.0",
    "mistral_v1": "0.18.0",
    "mistral_v2v3": "0.18.0",
    "mistral_v3_tekken": "0.18.0",
    "mistral_v7_tekken": "0.10.0",
    "phi_35": "0.7.0",
    "qwen3_5": "0.18.0",
}
"""Templates that had another text before: the release from which on they render as in 0.21.0.

Found by rendering the templates of all releases from 0.5.2 on; the others always rendered text messages alike.
"""

TURNS_IN_WHOLE = "0.19.0"
"""From here on the turns of a conversation are found in its whole text (prompt_strategies/chat_template.py)."""

RENDERED_SINCE = "0.18.0"
"""The oldest release whose tokens and labels were compared with our renderings (tools/check_axolotl_renderings.py)."""


def notes(reader: Reader) -> tuple[str, ...]:
    if at_least(reader.version, RENDERED_SINCE):
        return ()
    return (
        f"how rows become tokens and labels is read by the rules of {RENDERED_SINCE}: releases before it were not compared",
    )
