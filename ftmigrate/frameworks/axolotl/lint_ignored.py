"""Keys that Axolotl's loader takes and its run then passes over, or reads as something else (0.21.0; files at the rows)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ftmigrate.document.model import Path, Unresolved
from ftmigrate.frameworks.checks import (
    Condition,
    Plain,
    View,
    absent,
    each,
    filled,
    given,
    is_,
    is_not,
    off,
    on,
    test,
)
from ftmigrate.linter.rules import Checks, Finding
from ftmigrate.linter.subject import Subject

CHECKS = Checks()
CODE = "AX024"


class Ignored(NamedTuple):
    """Keys that have a value, when they count for nothing, and why; `{rl}` in it stands for that key's value."""

    keys: tuple[str, ...]
    when: Condition
    why: str


def _never_best(view: View) -> bool:
    """Fractions made of counts an epoch are compared as well; those are not judged."""
    save, evaluate = view.get("save_steps"), view.get("eval_steps")
    if view.get("saves_per_epoch") or view.get("evals_per_epoch"):
        return False
    return not save or not evaluate or (isinstance(save, int) and isinstance(evaluate, int) and save % evaluate != 0)


_OF_PAIRS = is_("rl", "dpo", "ipo", "simpo", "kto", "orpo")
_WITH_BETA = is_("rl", "dpo", "ipo", "simpo", "kto")
_AS_BETA = _WITH_BETA & absent("rl_beta") & absent("trl.beta")
_UNADAPTED = off("adapter")
_ALL_TRAINED = is_("train_on_inputs", True) & each("datasets", on("roles_to_train"))
_COSINE = absent("lr_scheduler") | is_("lr_scheduler", "cosine", "rex", "one_cycle")
TABLE = (
    # core/builders/causal.py reads them, core/builders/rl.py does not
    Ignored(
        ("early_stopping_patience", "load_best_model_at_end", "neftune_noise_alpha", "group_by_length",
         "lr_quadratic_warmup", "curriculum_sampling", "auto_find_batch_size"),
        _OF_PAIRS, "it is read in supervised fine-tuning only, not with `rl: {rl}`",
    ),
    # core/builders/causal.py, load_best_model_at_end
    Ignored(
        ("load_best_model_at_end",), off("rl") & test(_never_best, "save_steps", "eval_steps"),
        "the best checkpoint is kept only where `save_steps` is a multiple of `eval_steps` and both are numbers of steps; "
        "the last one is what stays",
    ),
    # core/builders/rl.py: what belongs to one method
    Ignored(("simpo_gamma", "cpo_alpha"), is_not("rl", "simpo"), "it belongs to `rl: simpo`"),
    Ignored(("kto_desirable_weight", "kto_undesirable_weight"), is_not("rl", "kto"), "it belongs to `rl: kto`"),
    Ignored(("dpo_label_smoothing", "dpo_loss_type", "dpo_loss_weights"), is_not("rl", "dpo"), "it belongs to `rl: dpo`"),
    Ignored(("rl_beta",), off("rl"), "no `rl` says that pairs are learnt from"),
    Ignored(("orpo_alpha",), _WITH_BETA & (given("rl_beta") | given("trl.beta")), "it belongs to `rl: orpo`"),
    # core/trainers/mixins/scheduler.py
    Ignored(
        ("cosine_min_lr_ratio", "cosine_constant_lr_ratio"), ~_COSINE & off("jagged_restart_steps"),
        "it counts with `lr_scheduler: cosine` only",
    ),
    Ignored(("cosine_constant_lr_ratio",), _COSINE & off("cosine_min_lr_ratio"), "it needs `cosine_min_lr_ratio` beside it"),
    Ignored(("lr_quadratic_warmup",), off("rl") & ~_COSINE, "it counts with `lr_scheduler: cosine` only"),
    Ignored(("cosine_min_lr_ratio",), on("lr_quadratic_warmup") & _COSINE, "`lr_quadratic_warmup` goes first"),
    # transformers' optimization.py, get_scheduler
    Ignored(
        ("warmup_steps", "warmup_ratio"), is_("lr_scheduler", "constant"),
        "`constant` has no warmup; with one it is called `constant_with_warmup`",
    ),
    # loaders/model.py loads an adapter where `adapter` says so
    Ignored(
        ("lora_model_dir",), _UNADAPTED,
        "nothing says `adapter`, so the one that lies there is passed over and the whole model is trained",
    ),
)  # fmt: skip


@CHECKS(CODE)
def ignored(subject: Subject) -> Iterator[Finding]:
    view = Plain(subject.document.tree)
    for keys, when, why in TABLE:
        said = [key for key in keys if (value := subject.document.tree.get(key)) and not isinstance(value, Unresolved)]
        if said and when.surely(view):
            for key in said:
                yield _finding(subject, (key,), f"`{key}` has no effect here: {filled(why, view)}.")


@CHECKS(CODE)
def taken_otherwise(subject: Subject) -> Iterator[Finding]:
    """What counts as something that it does not say."""
    tree, view = subject.document.tree, Plain(subject.document.tree)
    # core/builders/rl.py: beta is the first of trl.beta, rl_beta, orpo_alpha
    if tree.get("orpo_alpha") and _AS_BETA.surely(view):
        message = f"`orpo_alpha` is taken for the beta of `rl: {tree['rl']}`. Call it `rl_beta`, or remove it."
        yield _finding(subject, ("orpo_alpha",), message)
    # core/builders/causal.py hands on what is true; transformers' training_args.py then goes by the name
    metric = tree.get("metric_for_best_model")
    if tree.get("greater_is_better") is False and isinstance(metric, str) and not metric.endswith("loss"):
        message = f"`greater_is_better: false` is not handed on, and `{metric}` is no loss: the worst checkpoint counts as the best."
        yield _finding(subject, ("greater_is_better",), message)
    # utils/optimizers/loraplus.py: parameters of one dimension have the higher rate as well
    if tree.get("loraplus_lr_ratio") and _UNADAPTED.surely(view):
        message = (
            "Without an adapter `loraplus_lr_ratio` multiplies the learning rate of all norms and biases. Remove it."
        )
        yield _finding(subject, ("loraplus_lr_ratio",), message)
    # prompt_strategies/chat_template.py: train_on_inputs or the role
    if _ALL_TRAINED.item is not None and _ALL_TRAINED.surely(view):
        message = "`train_on_inputs: true` trains every turn, so `roles_to_train` has no effect. Remove one of them."
        yield _finding(subject, (*_ALL_TRAINED.item(view), "roles_to_train"), message)


def _finding(subject: Subject, path: Path, message: str) -> Finding:
    return subject.finding(CODE, path, message, key=True)
