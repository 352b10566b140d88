"""Lint rules of Axolotl's own: what its loader lets through and its run does otherwise (files named on the pages)."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator
from typing import Any

from ftmigrate.document.model import Path
from ftmigrate.frameworks.axolotl import lint_ignored, lint_validators, rule_names
from ftmigrate.frameworks.axolotl.forms import METHOD_KEYS
from ftmigrate.linter import scopes
from ftmigrate.linter.diagnostic import Fix
from ftmigrate.linter.rules import ERROR, INFO, WARNING, Checks, Finding, Rule, RuleSet
from ftmigrate.linter.subject import Subject
from ftmigrate.linter.types import NUMBER

CHECKS = Checks()
_TABLE = (
    Rule("AX001", "warmup-of-one", INFO, "safe"),
    Rule("AX002", "kernels-without-gpu", WARNING),
    Rule("AX003", "quantised-lora", WARNING, "safe"),
    Rule("AX004", "targets-said-twice", WARNING),
    Rule("AX005", "untrained-tokens", WARNING),
    Rule("AX006", "template-of-another-model", WARNING),
    Rule("AX007", "grouped-and-packed", WARNING),
    Rule("AX008", "fan-in-fan-out", WARNING),
    Rule("AX009", "rate-no-number", ERROR),
    Rule("AX010", "unknown-plugin", ERROR, "unsafe"),
    Rule("AX011", "unknown-dataset-type", ERROR, "unsafe"),
    Rule("AX012", "default-sequence-length", INFO),
    Rule("AX013", "zero-save-limit", WARNING),
    Rule("AX014", "no-adapter-targets", ERROR),
    Rule("AX015", "validation-share", ERROR),
    Rule("AX016", "reward-rows-packed", ERROR, over=("FT133",)),
    Rule("AX017", "frozen-adapter", WARNING, "unsafe"),
    Rule("AX018", "dataset-without-path", ERROR),
    Rule("AX019", "unknown-optimizer", ERROR, "unsafe"),
    Rule("AX020", "precision-said-twice", WARNING, "unsafe"),
    Rule("AX021", "inverted-mapping", ERROR, "sometimes"),
    Rule("AX022", "unknown-class", ERROR, "sometimes"),
    Rule("AX023", "layer-of-another-model", WARNING, "unsafe"),
    Rule("AX024", "passed-over", WARNING),
    Rule("AX025", "turn-end-untrained", WARNING),
)
_ADAPTED = "base_model"
_KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel")
_LINEAR = frozenset(("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"))


def _entries(subject: Subject) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The entries of `datasets` and `test_datasets` that are mappings, with where they stand."""
    for key in ("datasets", "test_datasets"):
        listed = subject.value(key)
        for index, one in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(one, dict):
                yield (key, index), one


@CHECKS("AX001")
def warmup(subject: Subject) -> Iterator[Finding]:
    if subject.value("warmup_steps") == 1 and not isinstance(subject.value("warmup_steps"), bool):
        message = "A warmup of 1 step is run as 2: the first step has a learning rate of 0, the second half of it. Write 2 or 0."
        fix = subject.replace(("warmup_steps",), "2", safe=True, title="write what is run: 2")
        yield subject.finding("AX001", ("warmup_steps",), message, fix=fix)


@CHECKS("AX002")
def kernels(subject: Subject) -> Iterator[Finding]:
    tree = subject.document.tree
    if tree.get("adapter") not in ("lora", "qlora") or any(tree.get(key) is not None for key in _KERNELS):
        return
    if tree.get("bf16") is not False or tree.get("fp16") or tree.get("rl") or tree.get("trust_remote_code"):
        return
    if tree.get("lora_dropout"):
        return
    message = (
        "Axolotl switches its fused adapter kernels on by itself, and they need a GPU; this run, in full precision, looks as if "
        f"it had none. Write false for {', '.join(_KERNELS)}."
    )
    yield subject.finding("AX002", ("adapter",), message, key=True)


@CHECKS("AX003")
def quantised(subject: Subject) -> Iterator[Finding]:
    if subject.value("adapter") == "lora" and subject.value("load_in_4bit") is True:
        message = "`adapter: lora` with `load_in_4bit: true` is run as qlora: the base weights are 4-bit. Say so, or load them whole."
        yield subject.finding("AX003", ("adapter",), message, fix=subject.replace(("adapter",), "qlora", safe=True))


@CHECKS("AX004")
def twice(subject: Subject) -> Iterator[Finding]:
    named = subject.value("lora_target_modules")
    if (
        subject.value("lora_target_linear") is True
        and isinstance(named, list)
        and named
        and set(map(str, named)) < _LINEAR
    ):
        message = (
            "`lora_target_linear` adapts all linear layers, so the list restricts nothing. Keep the one that is meant: the list "
            "alone for these layers, or `lora_target_linear` alone for all."
        )
        yield subject.finding("AX004", ("lora_target_modules",), message, key=True)


@CHECKS("AX005")
def tokens(subject: Subject) -> Iterator[Finding]:
    tree = subject.document.tree
    added = tree.get("tokens")
    if not isinstance(added, list) or not added or tree.get("adapter") not in ("lora", "qlora"):
        return
    kept = tree.get("lora_modules_to_save")
    if tree.get("peft_trainable_token_indices") or (
        isinstance(kept, list) and {"embed_tokens", "wte"} & set(map(str, kept))
    ):
        return
    message = (
        f"{len(added)} tokens are added, but their embeddings are not trained: they stay what they were made of. "
        "Add `lora_modules_to_save: [embed_tokens, lm_head]`."
    )
    yield subject.finding("AX005", ("tokens",), message, key=True)


@CHECKS("AX006")
def template(subject: Subject) -> Iterator[Finding]:
    told, model = subject.value("chat_template"), subject.value("base_model")
    if not isinstance(told, str) or not isinstance(model, str) or told.startswith(("tokenizer_default", "jinja")):
        return
    if told not in subject.schema.keys("config").get("chat_template", {}).get("enum", (told,)):
        return  # no template at all
    for pattern, own in rule_names.TEMPLATES:
        if re.search(pattern, model) and told not in own:
            hint = f", such as {own[0]}" if own else ""
            message = (
                f"`chat_template: {told}` on {model}, which was tuned with turns of another form: it must unlearn those. "
                f"Use its own{hint} or tokenizer_default."
            )
            yield subject.finding("AX006", ("chat_template",), message)
            return


@CHECKS("AX007")
def grouped(subject: Subject) -> Iterator[Finding]:
    if subject.value("group_by_length") is True and subject.value("sample_packing") is True:
        message = "`group_by_length` has no effect with `sample_packing`: packs all have the same length."
        yield subject.finding("AX007", ("group_by_length",), message, key=True)


@CHECKS("AX008")
def fan(subject: Subject) -> Iterator[Finding]:
    model = str(subject.value("base_model"))
    if subject.value("lora_fan_in_fan_out") is True and not re.search(r"(?i)gpt-?2|distilgpt", model):
        message = "`lora_fan_in_fan_out` is for the transposed layers of GPT-2; on other models adapters are put on the wrong way round."
        yield subject.finding("AX008", ("lora_fan_in_fan_out",), message, key=True)


@CHECKS("AX009")
def rate(subject: Subject) -> Iterator[Finding]:
    for key in ("learning_rate", "embedding_lr", "loraplus_lr_ratio"):
        value = subject.value(key)
        if isinstance(value, str) and not NUMBER.match(value):
            yield subject.finding("AX009", (key,), f"`{key}: {value}` is no number. Write it as 2e-5 or 0.00002.")


@CHECKS("AX010")
def plugins(subject: Subject) -> Iterator[Finding]:
    listed = subject.value("plugins")
    known: set[str] = set()
    for name in subject.schema.names(scopes.PLUGIN):
        about = subject.schema.keys(name).get("", {})
        known |= {str(about.get("plugin")), *about.get("also", ())}
    for one in listed if isinstance(listed, list) and known else ():
        if not isinstance(one, str) or one in known or not one.startswith("axolotl."):
            continue
        from difflib import get_close_matches

        close = get_close_matches(one, sorted(known), 1, 0.7)
        hint = f"; did you mean `{close[0]}`?" if close else "."
        message = f"`{one}` is no plugin of Axolotl {subject.version}{hint} The run stops when it is loaded."
        fix = subject.replace_item(("plugins",), one, close[0]) if close else None
        yield subject.finding("AX010", ("plugins",), message, fix=fix)


@CHECKS("AX011")
def types(subject: Subject) -> Iterator[Finding]:
    for place, one in _entries(subject):
        told = one.get("type")
        if not isinstance(told, str) or not told:
            continue
        head = told.partition(":")[0].partition(".")[0]
        if head == "sharegpt":
            message = "`type: sharegpt` was removed: use `chat_template` with `field_messages: conversations` and a mapping of from and value."
            yield subject.finding("AX011", (*place, "type"), message)
            continue
        if head in rule_names.PREFERENCE_TYPES and not any(subject.value(name) for name in ("rl", *METHOD_KEYS)):
            message = f"`type: {told}` is for pairs of replies, and nothing says that they are learnt from (`rl:`): the run stops."
            yield subject.finding("AX011", (*place, "type"), message)
            continue
        method = str(subject.value("rl"))
        legal = rule_names.TYPES_OF.get(method, ())
        if legal and head in rule_names.TYPES and head not in legal:
            message = f"`type: {told}` is no type of `rl: {method}`: the run stops when the rows are read. Legal: {', '.join(legal)}."
            yield subject.finding("AX011", (*place, "type"), message)
            continue
        from difflib import get_close_matches

        close = [] if head in rule_names.TYPES else get_close_matches(head, rule_names.TYPES, 1, 0.8)
        if close:
            message = f"`type: {told}` is no prompt strategy of Axolotl's; did you mean `{close[0]}`?"
            fix = subject.replace((*place, "type"), close[0] + told[len(head) :], safe=False)
            yield subject.finding("AX011", (*place, "type"), message, fix=fix)


@CHECKS("AX012")
def length(subject: Subject) -> Iterator[Finding]:
    tree = subject.document.tree
    if "sequence_len" not in tree and isinstance(tree.get("datasets"), list):
        message = "`sequence_len` is not said, so it is 512: longer rows are dropped. Write it."
        yield subject.finding("AX012", None, message)


@CHECKS("AX013")
def limit(subject: Subject) -> Iterator[Finding]:
    value = subject.value("save_total_limit")
    if value == 0 and not isinstance(value, bool):
        message = "`save_total_limit: 0` does not mean none: it counts as not said, and 4 checkpoints are kept."
        yield subject.finding("AX013", ("save_total_limit",), message)


@CHECKS("AX014")
def untargeted(subject: Subject) -> Iterator[Finding]:
    tree = subject.document.tree
    if tree.get("adapter") not in ("lora", "qlora") or tree.get("lora_model_dir"):
        return
    if any(tree.get(key) for key in ("lora_target_linear", "lora_target_modules", "lora_target_parameters")):
        return
    message = "The adapter has no layers: nothing says which get one. Add `lora_target_linear: true`, or `lora_target_modules`."
    yield subject.finding("AX014", ("adapter",), message, key=True)


@CHECKS("AX015")
def share(subject: Subject) -> Iterator[Finding]:
    value = subject.value("val_set_size")
    if isinstance(value, int | float) and not isinstance(value, bool) and (value < 0 or (value > 1 and value % 1 != 0)):
        message = f"`val_set_size: {value}` is neither a share of the rows (0 to 1) nor a number of rows."
        yield subject.finding("AX015", ("val_set_size",), message)


@CHECKS("AX016")
def packed(subject: Subject) -> Iterator[Finding]:
    if subject.value("rl") and subject.value("sample_packing") is True:
        message = f"`sample_packing` does not work with `rl: {subject.value('rl')}`: Axolotl stops. Switch it off."
        yield subject.finding("AX016", ("sample_packing",), message)


@CHECKS("AX017")
def frozen(subject: Subject) -> Iterator[Finding]:
    tree = subject.document.tree
    if tree.get("adapter") not in ("lora", "qlora") or tree.get("rl"):
        return
    told = tree.get("unfrozen_parameters")
    patterns = [one for one in told if isinstance(one, str)] if isinstance(told, list) else []
    starts = [re.split(r"\W", one.removeprefix("^"), maxsplit=1)[0] for one in patterns]
    if not patterns or any(_ADAPTED.startswith(one) or one.startswith(_ADAPTED) for one in starts):
        return
    message = (
        f"Names are matched from their start, and with an adapter all begin with `{_ADAPTED}`: none of these patterns matches, "
        "so that everything is frozen, the adapter too, and nothing is trained. Remove the key: an adapter freezes the rest by itself."
    )
    fix = subject.remove(("unfrozen_parameters",), safe=False)
    yield subject.finding("AX017", ("unfrozen_parameters",), message, key=True, fix=fix)


@CHECKS("AX018")
def path(subject: Subject) -> Iterator[Finding]:
    for place, one in _entries(subject):
        if one.get("path") is None and one.get("type") != "_synthetic":
            message = "This dataset has no `path:` (a hub id, a file or a directory), and is loaded by nothing else."
            yield subject.finding("AX018", place, message)


@CHECKS("AX019")
def optimizer(subject: Subject) -> Iterator[Finding]:
    """Names that the loader lets through and transformers' training arguments then refuse; a plugin may know others."""
    own = subject.schema.keys(subject.framework.layout.root).get("optimizer", {}).get("enum", ())
    for key, known in (("optimizer", (*rule_names.OPTIMIZERS, *own)), ("lr_scheduler", rule_names.SCHEDULERS)):
        value = subject.value(key)
        if not isinstance(value, str) or value in known or subject.value("plugins"):
            continue
        from ftmigrate.linter.checks.unknown import near_value

        begun = [one for one in known if value.lower().startswith(f"{one}_")]  # cosine_with_warmup is a cosine
        several = [one for one in known if one.startswith(f"{value.lower()}_")]  # of which adamw may be any
        longer = several if value.lower() not in known else []
        close = max(begun, key=len) if begun else None if longer else near_value(value, known)
        hint = f"; did you mean `{close}`?" if close else f". Legal: {', '.join((longer or known)[:20])}"
        fix = subject.replace((key,), close, safe=False) if close else None
        yield subject.finding("AX019", (key,), f"`{value}` is no {key} that this version knows{hint}", fix=fix)


@CHECKS("AX020")
def precision(subject: Subject) -> Iterator[Finding]:
    if subject.value("bf16") is True and subject.value("fp16") is True:
        message = "`fp16: true` has no effect beside `bf16: true`, which goes first. Remove one of them."
        fix = subject.remove(("fp16",), safe=False)
        yield subject.finding("AX020", ("fp16",), message, key=True, fix=fix)


@CHECKS("AX021")
def mapping(subject: Subject) -> Iterator[Finding]:
    for place, one in _entries(subject):
        mapped = one.get("message_property_mappings")
        if isinstance(mapped, dict) and "role" in mapped.values() and "role" not in mapped:
            at = (*place, "message_property_mappings")
            right = ", ".join(f"{value}: {name}" for name, value in mapped.items())
            message = (
                "The other way round: the keys are what the template calls a message's parts (`role`, `content`), the "
                f"values what your rows call them. No message has a role so, and the run stops. Write {{{right}}}."
            )
            turned = [subject.swap((*at, name)) for name in mapped]
            edits = [edit for fix in turned if fix is not None for edit in fix.edits]
            fix = Fix(tuple(edits), False, "turn it round") if None not in turned else None
            yield subject.finding("AX021", at, message, key=True, fix=fix)


@CHECKS("AX022")
def classes(subject: Subject) -> Iterator[Finding]:
    """Names that transformers is asked for: no class of a model, or of a tokenizer, is called so."""
    from ftmigrate.linter.checks.unknown import near_value

    own = subject.value("trust_remote_code") or subject.value("gptq")
    name = subject.value("model_type")
    if isinstance(name, str) and not own:
        head = name.partition("For")[2]
        close = near_value(head, rule_names.HEADS) if head and head not in rule_names.HEADS else None
        if close or not re.search(r"For[A-Z]|LMHead|Model\Z", name):
            written = name.removesuffix(head) + close if close else None
            hint = f"Did you mean `{written}`?" if written else "Write AutoModelForCausalLM, or leave the key out."
            fix = subject.replace(("model_type",), written, safe=False) if written else None
            yield subject.finding(
                "AX022", ("model_type",), f"transformers has no class `{name}`: the run stops. {hint}", fix=fix
            )
    name = subject.value("tokenizer_type")
    if isinstance(name, str) and "Tokenizer" not in name:
        message = f"transformers has no tokenizer `{name}`: the run stops. Write AutoTokenizer, or leave the key out."
        yield subject.finding("AX022", ("tokenizer_type",), message)


@CHECKS("AX023")
def layers(subject: Subject) -> Iterator[Finding]:
    base = subject.value("base_model")
    own = {layer for pattern, layer in rule_names.LAYERS if isinstance(base, str) and re.search(pattern, base)}
    for key in ("transformer_layer_cls_to_wrap", "fsdp_transformer_layer_cls_to_wrap"):
        told = subject.value("fsdp_config", key)
        if len(own) == 1 and told not in own and told in {layer for _, layer in rule_names.LAYERS}:
            (layer,) = own
            message = f"{base} has no {told}, so sharding by it fails when the run begins. Its layers are {layer}."
            fix = subject.replace(("fsdp_config", key), layer, safe=False)
            yield subject.finding("AX023", ("fsdp_config", key), message, fix=fix)


@CHECKS("AX025")
def ends(subject: Subject) -> Iterator[Finding]:
    """What ends a reply is trained where it is an `eot_tokens` or the tokenizer's end of text."""
    from ftmigrate.run.rendering import Conversation, Rendering

    base, named = str(subject.value("base_model")), subject.get("tokenizer.eos_token")
    known = next((end for pattern, end in rule_names.ENDS if re.search(pattern, base)), None)
    eos = known if named == "own" else named
    if not isinstance(eos, str):
        return
    newer = "eot_tokens" in subject.schema.keys(subject.framework.layout.root)
    how = 'eot_tokens: ["…"]' if newer else "special_tokens: {eos_token: …}"
    for index, source in enumerate(subject.sources):
        mask = source["loss_mask"].value if "loss_mask" in source else None
        for talk in mask.segments if isinstance(mask, Rendering) else ():
            if not isinstance(talk, Conversation) or "assistant" not in talk.format.roles or not talk.loss.ends:
                continue
            footer = talk.format.roles["assistant"].footer
            trained = {text.replace("{eos}", eos) for texts, _ in talk.loss.ends for text in texts}
            if (
                footer.strip()
                and "⟨" not in footer
                and not any(text in footer.replace("{eos}", eos) for text in trained)
            ):
                message = (
                    f"A reply ends with `{footer.strip()}`, which is no `eot_tokens` and not the end of text of {base} (`{eos}`): "
                    f"it is not trained, and the model never learns to stop. Add `{how.replace('…', footer.strip())}`."
                )
                yield subject.finding("AX025", ("datasets", index, "type"), message)


CHECKS.found += [*lint_ignored.CHECKS.found, *lint_validators.CHECKS.found]
RULES = RuleSet(
    (*_TABLE, *lint_validators.RULES),
    CHECKS,
    str(pathlib.Path(__file__).parent / "rules.md"),
    more_pages=(lint_validators.PAGES,),
)
