"""The numbers that a model builder fixes: what the sized builders hand to the component builders, as literals."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from schema_store import Facts
from torchtune_source import Module, NotLiteral, Package, Target

_SIZES = {"num_layers", "embed_dim", "vocab_size", "num_heads"}
_OPTIONS = ("lora_", "apply_lora", "use_dora", "quantize_base", "encoder_lora", "fusion_lora", "decoder_lora")
_TRAINABLE = ("decoder_trainable", "encoder_trainable", "fusion_trainable")


def architecture(package: Package, target: Target, chosen: Mapping[str, str]) -> Facts:
    """The architecture of a model builder, empty where its numbers are all left to the config."""
    bound = package.partial(target)
    if bound is not None:
        return architecture(package, bound[0], chosen)
    module, node = target.module, target.node
    if not isinstance(node, ast.FunctionDef) or module is None:
        return {}
    family = target.path.split(".")[2] if target.path.startswith("torchtune.models.") else ""
    signature = package.signature(target)
    assert signature is not None
    defaults = {p.name: _literal(package, p.module, p.default) for p in signature.parameters}
    given = {name: value for name, value in defaults.items() if value is not _NO}
    if set(defaults) >= {"num_layers", "num_heads"}:  # a component builder: the config itself gives the sizes
        numbers = {name: value for name, value in given.items() if not _is_option(name)}
        return {"family": family, **_structure(package, module, _plain(target), numbers)}
    parts: dict[str, Facts] = {}
    for name, call in _builder_calls(node):
        called = package.expression(module, call.func)
        numbers = _numbers(package, module, call, called, given) if called is not None else {}
        if called is not None and numbers and _SIZES & set(numbers):
            parts[name] = {"builder": chosen.get(called.path, called.path), **numbers}
    if not parts:
        return {}
    if len(parts) == 1:
        return {"family": family, **next(iter(parts.values()))}
    return {"family": family, "parts": parts}


_NO = object()


def _literal(package: Package, module: Module, node: ast.expr | None) -> object:
    if node is None:
        return _NO
    try:
        return package.literal(module, node)
    except NotLiteral:
        return _NO


def _builder_calls(function: ast.FunctionDef) -> Iterator[tuple[str, ast.Call]]:
    """The calls that build the model or its parts, with the name each is bound to."""
    for statement in ast.walk(function):
        if isinstance(statement, ast.Return) and isinstance(statement.value, ast.Call):
            yield "", statement.value
        elif isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
            yield ast.unparse(statement.targets[0]), statement.value


def _numbers(package: Package, module: Module, call: ast.Call, called: Target, given: Mapping[str, object]) -> Facts:
    signature = package.signature(called)
    if signature is None or not isinstance(called.node, ast.FunctionDef) or called.module is None:
        return {}
    names = [parameter.name for parameter in signature.parameters]
    passed = dict(zip(names, call.args, strict=False)) | {k.arg: k.value for k in call.keywords if k.arg}
    numbers: Facts = {}
    for parameter in signature.parameters:
        name = parameter.name
        if _is_option(name):
            continue
        node = passed.get(name)
        if isinstance(node, ast.Name) and node.id in given:
            value: object = given[node.id]
        elif node is not None:
            value = _literal(package, module, node)
        else:
            value = _literal(package, parameter.module, parameter.default)
        if value is not _NO:
            numbers[name] = value
    return _structure(package, called.module, _plain(called), numbers) if _SIZES & set(numbers) else {}


def _is_option(name: str) -> bool:
    return name.startswith((*_OPTIONS, *_TRAINABLE)) or name.endswith("dropout")


def _plain(target: Target) -> ast.FunctionDef:
    """The builder itself, or for a LoRA builder its plain sibling, whose body shows the structure."""
    assert target.module is not None
    plain = target.module.bindings.get(target.path.split(".")[-1].removeprefix("lora_"))
    node = plain if isinstance(plain, ast.FunctionDef) else target.node
    assert isinstance(node, ast.FunctionDef)
    return node


def _structure(package: Package, module: Module, body: ast.FunctionDef, numbers: Facts) -> Facts:
    """What the component builder's own body fixes: tied embeddings, rotary class and base, bias of the query."""
    for _, call in _builder_calls(body):  # a builder that only hands on to another
        inner = package.expression(module, call.func)
        if inner is None or inner.module is None or not inner.path.startswith("torchtune.models."):
            continue
        if isinstance(inner.node, ast.FunctionDef):
            names = {argument.arg for argument in [*inner.node.args.args, *inner.node.args.kwonlyargs]}
            if names >= {"num_layers", "num_heads"}:
                return _structure(package, inner.module, _plain(inner), numbers)
    calls = {ast.unparse(node.func).split(".")[-1]: node for node in ast.walk(body) if isinstance(node, ast.Call)}
    dim = numbers.get("embed_dim")
    if numbers.get("intermediate_dim", 0) is None and "scale_hidden_dim_for_mlp" in calls and isinstance(dim, int):
        hidden = 4 * int(2 * dim / 3)
        numbers["intermediate_dim"] = 256 * ((hidden + 255) // 256)
    if "tok_embeddings" in ast.unparse(body):
        numbers.setdefault("tie_word_embeddings", "TiedLinear" in calls)
    for name, call in calls.items():
        if name.endswith(("RotaryPositionalEmbeddings", "RoPE")):
            numbers["rope"] = name
            rope = package.expression(module, call.func)
            signature = package.signature(rope) if rope is not None else None
            for parameter in signature.parameters if signature else ():
                if parameter.name == "base":
                    numbers.setdefault("rope_base", _literal(package, parameter.module, parameter.default))
        for keyword in call.keywords:
            if keyword.arg == "q_proj" and isinstance(keyword.value, ast.Call):
                for option in keyword.value.keywords:
                    if option.arg == "bias":
                        by_name = numbers.get(ast.unparse(option.value), _NO)
                        bias = by_name if by_name is not _NO else _literal(package, module, option.value)
                        numbers.setdefault("attention_bias", bias if bias is not _NO else None)
    return {name: value for name, value in numbers.items() if value is not _NO and value is not None}
