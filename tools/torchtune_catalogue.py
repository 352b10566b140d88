"""The components that a torchtune config may name: every public callable, with its parameters and kind."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from schema_store import Facts, Sections
from torchtune_architecture import architecture
from torchtune_source import Module, NotLiteral, Package, Signature, Target
from torchtune_types import parameter_facts

NAMESPACES = ("data", "datasets", "dev", "models", "modules", "rlhf", "training", "utils")
_MODELS = {"TransformerDecoder", "DeepFusionModel", "EarlyFusionModel", "ClassifierModel", "T5Encoder"}
_MODELS |= {"GemmaTransformerDecoder", "CLIPTextEncoder", "VisionTransformer", "FluxAutoencoder", "FluxFlowModel"}
_HELPERS = ("torchtune.training.", "torchtune.rlhf.", "torchtune.dev.rl.workers.", "torchtune.dev.rl.utils.",
            "torchtune.utils.")  # fmt: skip
_QUANTIZATION = ("torchtune.training.quantization.", "torchtune.utils.quantization.")
_COLLATE = ("padded_collate", "left_pad_sequence")


def public_paths(package: Package) -> dict[str, Target]:
    """Every public dotted path of a callable in the namespaces that a config names."""
    found: dict[str, Target] = {}
    for space in NAMESPACES:
        for name in package.names(f"torchtune.{space}"):
            module = package.module(name)
            if module is None or any(part.startswith("_") for part in name.split(".")):
                continue
            # in 0.2 the checkpointers are imported into torchtune.utils and not listed in its __all__
            for public in module.bindings if name == "torchtune.utils" else package.public(module):
                target = package.lookup(module, public)
                if target is not None and _wanted(package, module, target):
                    found[f"{name}.{public}"] = target
    return found


def _wanted(package: Package, module: Module, target: Target) -> bool:
    """Whether a config could name it: a callable, and none of the helpers of the training loop or the workers."""
    if target.external:
        return target.module is None and module.exported is not None
    if not isinstance(target.node, ast.FunctionDef | ast.ClassDef) and package.partial(target) is None:
        return False
    if isinstance(target.node, ast.ClassDef) and package.signature(target) is None:
        return target.path.startswith(_QUANTIZATION)  # elsewhere: enums, tuples, typed dicts
    helper = target.path.startswith(_HELPERS) and not target.path.startswith(_QUANTIZATION)
    return not helper or kind(package, target) != "other"


def components(package: Package, named: Iterable[str] = ()) -> Sections:
    """A section per public path, and per private one of `named`.

    Further paths of the same object name the first by `alias_of`.
    """
    paths = public_paths(package)
    chosen: dict[str, str] = {}
    for path in sorted(paths, key=lambda path: (path.count("."), path)):
        chosen.setdefault(paths[path].path, path)
    for path in sorted(set(named) - set(paths)):
        target = package.resolve(path)
        if target is not None and not target.external:
            paths[path] = target
            chosen.setdefault(target.path, path)
    sections: Sections = {}
    for path, target in paths.items():
        keys = component(package, target, chosen)
        if chosen[target.path] != path:
            keys[""]["alias_of"] = chosen[target.path]
        sections[f"component {path}"] = keys
    return sections


def component(package: Package, target: Target, chosen: dict[str, str]) -> dict[str, Facts]:
    """The section of one callable: its parameters, and facts of its own under the empty key."""
    if target.external:
        return {"": {"kind": "other", "external": target.path, "parameters": "unknown"}}
    signature = package.signature(target)
    about: Facts = {"kind": kind(package, target)}
    keys: dict[str, Facts] = {"": about}
    if signature is None:
        about["parameters"] = "unknown"
        return keys
    enums = _enums(package, signature)
    for parameter in signature.parameters:
        keys[parameter.name] = parameter_facts(package, parameter) | enums.get(parameter.name, {})
    if signature.kwargs:
        about["kwargs"] = _callee(package, signature, chosen) or True
    if signature.varargs:
        about["varargs"] = True
    bound = package.partial(target)
    if bound is not None and target.module is not None:
        about["partial_of"] = chosen.get(bound[0].path, bound[0].path)
        about["fixed"] = {name: _value(package, target.module, value) for name, value in bound[1].items()}
    deprecated = _deprecated(target)
    if deprecated:
        about["deprecated"] = deprecated
    if about["kind"] == "model":
        about |= {"architecture": found} if (found := architecture(package, target, chosen)) else {}
    return keys


def kind(package: Package, target: Target) -> str:
    """What a config uses the callable as, told from where it lives, its name and what it returns."""
    bound = package.partial(target)
    if bound is not None:
        return kind(package, bound[0])
    node, parts = target.node, target.path.split(".")
    name, space = parts[-1], parts[1]
    returns = ast.unparse(node.returns).strip("'\"") if isinstance(node, ast.FunctionDef) and node.returns else ""
    made = returns.split("[")[0].split(".")[-1] or name
    abstract = isinstance(node, ast.ClassDef) and any(
        base.path.split(".")[-1] in ("Protocol", "ABC") for base in package.bases(target)
    )
    if abstract or name.startswith("_"):
        return "other"
    if (made in _MODELS and space == "models") or name == "classifier_model":
        return "model"
    if (made.endswith("Tokenizer") and "BaseTokenizer" not in made) or name.endswith("_tokenizer"):
        return "tokenizer"
    if space == "models" and made.endswith("Transform") and not name.startswith("CLIP"):
        return "tokenizer"
    if name.endswith("Checkpointer") and isinstance(node, ast.ClassDef):
        return "checkpointer"
    if isinstance(node, ast.ClassDef) and name.endswith("Logger"):
        return "logger"
    if name == "setup_torch_profiler":
        return "profiler"
    if returns.endswith(("LambdaLR", "LRScheduler")):
        return "lr_scheduler"
    if isinstance(node, ast.ClassDef) and (name.endswith("Loss") or (".loss" in target.path and name.endswith("Loss"))):
        return "loss"
    if any(name.startswith(prefix) for prefix in _COLLATE):
        return "collate"
    if made.endswith("Dataset") or (space in ("datasets", "dev") and name.endswith("_dataset")):
        return "dataset"
    if isinstance(node, ast.ClassDef) and name.endswith(("ToMessages", "Template", "Transform")):
        return "transform"
    if name.endswith("_transform") and space in ("datasets", "data"):
        return "transform"
    return "other"


def _value(package: Package, module: Module, node: ast.expr) -> object:
    try:
        return package.literal(module, node)
    except NotLiteral:
        return {"expression": ast.unparse(node)}


def _deprecated(target: Target) -> str | bool:
    """The name that the deprecation names in backquotes or by its import path, else true; false where there is none."""
    for decorator in target.node.decorator_list if isinstance(target.node, ast.FunctionDef | ast.ClassDef) else []:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).split(".")[-1] == "deprecated":
            texts = [ast.unparse(value) for value in [*decorator.args, *(k.value for k in decorator.keywords)]]
            quoted = [word for text in texts for word in text.split("`")[1::2] if word != target.path]
            return quoted[-1] if quoted else True
    return False


def _enums(package: Package, signature: Signature) -> dict[str, Facts]:
    """The values that the body itself admits for a string parameter.

    `Enum[parameter]` admits names, `Enum(parameter)` values, and a chain of `parameter == "..."` that ends in an error
    its literals.
    """
    found: dict[str, Facts] = {}
    names = {parameter.name for parameter in signature.parameters}
    body, module = signature.body, signature.module
    if body is None or module is None:
        return found
    for node in ast.walk(body):
        if isinstance(node, ast.Subscript) and ast.unparse(node.slice) in names:
            members = enum_members(package, package.expression(module, node.value))
            if members:
                found[ast.unparse(node.slice)] = {"enum": list(members)}
        elif isinstance(node, ast.Call) and len(node.args) == 1:
            members = enum_members(package, package.expression(module, node.func))
            argument = ast.unparse(node.args[0]).removesuffix(".lower()")
            if members and argument in names:
                found[argument] = {"enum": list(members.values())}
        elif isinstance(node, ast.If):
            name, values = _chain(node)
            if name in names:
                found.setdefault(name, {"enum": values})
    return found


def _chain(node: ast.If) -> tuple[str, list[object]]:
    """`x == "a"`, `elif x == "b"`, `else: raise`: the name and the literals; an empty name for anything else."""
    name = ""
    values: list[object] = []
    branch: ast.If | None = node
    while branch is not None:
        test = branch.test
        if not (isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Eq) and isinstance(test.left, ast.Name)):
            return "", []
        right = test.comparators[0]
        if not isinstance(right, ast.Constant) or name not in ("", test.left.id):
            return "", []
        name = test.left.id
        values.append(right.value)
        rest = branch.orelse
        if rest and isinstance(rest[-1], ast.Raise):
            return name, values
        branch = rest[0] if len(rest) == 1 and isinstance(rest[0], ast.If) else None
    return "", []


def enum_members(package: Package, target: Target | None) -> dict[str, object]:
    """The names and values of an Enum class; none for anything else."""
    if target is None or not isinstance(target.node, ast.ClassDef) or target.module is None:
        return {}
    if not any(base.path == "enum.Enum" for base in package.bases(target)):
        return {}
    members: dict[str, object] = {}
    for statement in target.node.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            left = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            if isinstance(left, ast.Name) and not left.id.startswith("_"):
                members[left.id] = _value(package, target.module, statement.value)
    return members


def _callee(package: Package, signature: Signature, chosen: dict[str, str]) -> str | None:
    """The path of the callable that `**kwargs` is handed to; None where it goes nowhere that the source names."""
    body, module = signature.body, signature.module
    if body is None or module is None:
        return None
    local = dict(_local_imports(body))
    for node in ast.walk(body):
        if not isinstance(node, ast.Call):
            continue
        if any(
            k.arg is None and isinstance(k.value, ast.Name) and k.value.id == signature.kwargs for k in node.keywords
        ):
            path = _called(package, signature, node.func, local)
            if path:
                return chosen.get(path, path)
    return None


def _called(package: Package, signature: Signature, function: ast.expr, local: dict[str, str]) -> str | None:
    text = ast.unparse(function)
    if text == "super().__init__" and signature.owner is not None:
        return next((base.path for base in package.bases(signature.owner)), None)
    for name, path in local.items():
        if text == name or text.startswith(name + "."):
            return path + text[len(name) :]
    assert signature.module is not None
    found = package.expression(signature.module, function)
    return found.path if found is not None else None


def _local_imports(body: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    """Names that the body binds to imported modules, `self.x = module` included."""
    bound: dict[str, str] = {}
    for node in ast.walk(body):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound[alias.asname or alias.name] = alias.name
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                bound[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    yield from bound.items()
    for node in ast.walk(body):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id in bound:
            yield ast.unparse(node.targets[0]), bound[node.value.id]
