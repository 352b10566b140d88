"""`tune run` command lines, and recipe files started by torchrun or Python, as torchtune 0.6.1 takes them apart.

Sources: torchtune/_cli/run.py (the recipe ends torchrun's options, `--config` is a word of its own behind it),
torchtune/config/_parse.py (what else begins with `--` is refused), torch/distributed/run.py (torchrun's options).
"""

from __future__ import annotations

from collections.abc import Sequence
from posixpath import basename

from msgspec import Struct, field

from ftmigrate.document.model import Unresolved
from ftmigrate.document.unknown import is_marked
from ftmigrate.frameworks.launch import Launch
from ftmigrate.frameworks.torchtune.recipes import METHODS
from ftmigrate.scripts.shell import Argument, Command

# torchrun's options by whether a value follows; `-` and `_` are the same, and a beginning that is unique will do
_VALUED = ("nnodes", "nproc_per_node", "rdzv_backend", "rdzv_endpoint", "rdzv_id", "rdzv_conf", "max_restarts",
           "monitor_interval", "start_method", "event_log_handler", "role", "log_dir", "redirects", "tee",
           "local_ranks_filter", "duplicate_stdout_filters", "duplicate_stderr_filters", "node_rank", "master_addr",
           "master_port", "local_addr", "logs_specs", "numa_binding", "signals_to_handle",
           "shutdown_timeout")  # fmt: skip
_FLAGS = ("standalone", "module", "no_python", "run_path", "virtual_local_rank", "help")
_SHORT = {"-r": "redirects", "-t": "tee"}
_COUNTED = ("gpu", "auto", "cpu", "xpu")
_PYTHONS = ("python", "python3")
_RUNNERS = ("torch.distributed.run", "torch.distributed.launch")
_PRINTING = ("echo", "printf", "man", "which", "grep", "alias")
_SUBCOMMANDS = ("torchtune._cli.tune", "torchtune._cli.tune:main")


class _Options(Struct):
    """torchrun's options in front of the recipe."""

    given: dict[str, Argument | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def text(self, name: str) -> str | None:
        found = self.given.get(name)
        return found.text if found is not None else None


def launch(command: Command) -> Launch | None:
    """What a shell command starts; None where it is no command of torchtune's."""
    words = command.words
    if not words or basename(words[0].text) in _PRINTING:
        return None
    for index, word in enumerate(words):
        rest = words[index + 1 :]
        after = rest[0].text if rest else ""
        if (basename(word.text) == "tune" or word.text in _SUBCOMMANDS) and after == "run":
            return _tune_run(command, index, rest[1:])
        if basename(word.text) == "torchrun" or (word.text == "-m" and after in _RUNNERS):
            return _recipe_file(command, index, rest if word.text != "-m" else rest[1:], options=True)
        if basename(word.text) in _PYTHONS and after not in _RUNNERS and not (after == "-m" and len(rest) > 1):
            return _recipe_file(command, index, rest, options=False)
        if basename(word.text) in _PYTHONS and len(rest) > 1 and rest[1].text.startswith("recipes."):
            return _recipe_file(command, index, rest, options=False)
    return None


def _tune_run(command: Command, index: int, words: Sequence[Argument]) -> Launch:
    options, rest = _options(words)
    found = _Reading(command, index, options)
    if not rest:
        return found.refuse("no recipe is named")
    if rest[0].text.startswith("--"):
        told = rest[0].plain
        return found.refuse(
            f"`{told}` stands before the recipe and is no option of torchrun; it belongs behind the recipe"
        )
    return found.read(rest[0], rest[1:], distributed=bool(options.given))


def _recipe_file(command: Command, index: int, words: Sequence[Argument], *, options: bool) -> Launch | None:
    """A recipe's file (or module) run without `tune`: known by the recipe's name."""
    given, rest = _options(words) if options else (_Options(), list(words))
    if not options and rest and rest[0].text == "-m":
        rest = rest[1:]
    if not rest:
        return None
    name = (
        rest[0].text.replace(".", "/") if "/" not in rest[0].text and not rest[0].text.endswith(".py") else rest[0].text
    )
    stem = basename(name).removesuffix(".py")
    known = {basename(recipe) for recipe in METHODS}
    if stem not in known or not any(word.text.split("=")[0] == "--config" for word in rest[1:]):
        return None
    found = _Reading(command, index, given)
    return found.read(Argument(name, rest[0].position), rest[1:], distributed=options)


def _options(words: Sequence[Argument]) -> tuple[_Options, list[Argument]]:
    """torchrun's options and the words from the first that is none."""
    found = _Options()
    rest = list(words)
    while rest and rest[0].text.startswith("-") and rest[0].text != "-":
        text, equals, value = rest[0].text.partition("=")
        name = _option(text)
        if name is None:
            if text.startswith("--config"):
                break
            found.notes.append(f"torchrun has no option `{rest[0].plain}`")
            rest.pop(0)
            continue
        word = rest.pop(0)
        if name in _FLAGS:
            found.given[name] = None
        elif equals:
            found.given[name] = Argument(value, word.position)
        elif rest:
            found.given[name] = rest.pop(0)
        else:
            found.notes.append(f"`{word.plain}` has no value")
    return found, rest


def _option(text: str) -> str | None:
    if text in _SHORT:
        return _SHORT[text]
    if text == "-m":
        return "module"
    if not text.startswith("--"):
        return None
    name = text[2:].replace("-", "_")
    if name in _VALUED or name in _FLAGS:
        return name
    begun = [known for known in (*_VALUED, *_FLAGS) if name and known.startswith(name)]
    return begun[0] if len(begun) == 1 else None


class _Reading:
    def __init__(self, command: Command, index: int, options: _Options) -> None:
        self.command = command
        self.options = options
        self.notes = list(options.notes)
        self.position = command.words[index].position
        self.text = " ".join(_quoted(word.plain) for word in command.words[index:])

    def refuse(self, reason: str, recipe: str | Unresolved | None = None) -> Launch:
        return self.made(Unresolved("--config"), recipe, (), None, None, reason)

    def read(self, recipe: Argument, words: Sequence[Argument], *, distributed: bool) -> Launch:
        name = Unresolved(recipe.plain) if is_marked(recipe.text) else recipe.text
        if isinstance(name, Unresolved):
            self.notes.append(f"the recipe is {name}, which only the shell knows; name it with --recipe")
        nodes, processes = self.counts(distributed)
        told = [index for index, word in enumerate(words) if word.text == "--config"]
        if not told or told[0] + 1 == len(words):
            near = next((word.plain for word in words if word.text.startswith("--config=")), None)
            wrong = f"; `{near}` must be two words" if near else ""
            return self.refuse(f"no `--config NAME` stands behind the recipe{wrong}", name)
        config, rest = words[told[0] + 1], [*words[: told[0]], *words[told[0] + 2 :]]
        flags = [word.plain for word in rest if word.text.startswith("--")]
        if flags:
            return self.refuse(f"behind the recipe only `--config` and `key=value` may stand, not `{flags[0]}`", name)
        overrides = []
        for word in rest:
            if "=" in word.text or word.text.startswith("~"):
                overrides.append(word)
            elif is_marked(word.text):
                self.notes.append(f"what `{word.plain}` adds to the command is not known; give it with --set")
            else:
                return self.refuse(f"`{word.plain}` is no override: it has no `=`", name)
        wanted = Unresolved(config.plain) if is_marked(config.text) else config.text
        return self.made(wanted, name, tuple(overrides), processes, nodes, None)

    def made(
        self,
        config: str | Unresolved,
        recipe: str | Unresolved | None,
        overrides: tuple[Argument, ...],
        processes: int | None,
        nodes: int | None,
        refused: str | None,
    ) -> Launch:
        return Launch("torchtune", config, recipe, processes, nodes, overrides, self.text, self.position,
                      tuple(self.notes), refused)  # fmt: skip

    def counts(self, distributed: bool) -> tuple[int | None, int | None]:
        """Nodes, and processes on all of them."""
        if not distributed:
            return 1, None
        each = self.each(self.options.text("nproc_per_node") or "1")
        nodes = self.nodes(self.options.text("nnodes") or "1")
        return nodes, each * nodes if each is not None and nodes is not None else None

    def nodes(self, text: str) -> int | None:
        low, _, high = text.partition(":")
        if low.isdecimal() and high in ("", low) and int(low):
            return int(low)
        why = "an elastic range" if ":" in text and not is_marked(text) else "not known here"
        self.open("--nnodes", "nnodes", f"the number of nodes is {why}")
        return None

    def each(self, text: str) -> int | None:
        if text.isdecimal() and int(text):
            return int(text)
        visible = self.command.environment.get("CUDA_VISIBLE_DEVICES", "")
        if text in ("gpu", "auto") and visible and not is_marked(visible):
            return len(visible.split(","))
        why = "what the machine has" if text in _COUNTED else "not known here"
        self.open("--nproc_per_node", "nproc_per_node", f"the number of processes is {why}")
        return None

    def open(self, option: str, name: str, why: str) -> None:
        given = self.options.given.get(name)
        self.notes.append(f"{option} {given.plain if given is not None else ''}: {why}; say --world-size")


def _quoted(text: str) -> str:
    return f"'{text}'" if any(char in text for char in ' \t\n"*?;&|<>()') or not text else text
