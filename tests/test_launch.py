"""Launch commands as input: command lines, scripts, notebooks and Makefiles; the catalogue; the commands in answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from ftmigrate import api, launches, schema, scripts
from ftmigrate.cli import main
from ftmigrate.document.model import DocumentError, Source, Unresolved, format_path, walk
from ftmigrate.document.unknown import is_marked, mark, plain, unmark
from ftmigrate.document.yaml import OMEGACONF, parse
from ftmigrate.frameworks.axolotl import FRAMEWORK as AXOLOTL
from ftmigrate.frameworks.launch import Launch
from ftmigrate.frameworks.torchtune import catalogue
from ftmigrate.run.model import NODES, WORLD_SIZE
from tests.conftest import CORPUS, FIXTURES, WHEEL

LAUNCH = FIXTURES / "launch"
LORA = "tune run lora_finetune_single_device --config llama3_1/8B_lora_single_device"


def found(text: str, name: str = "<command>") -> list[Launch]:
    return launches.find(text.encode(), name)


def one(text: str, name: str = "<command>") -> Launch:
    (launch,) = found(text, name)
    return launch


def said(launch: Launch) -> tuple[Any, ...]:
    """Recipe, config, processes, nodes, overrides as plain values."""
    overrides = " ".join(argument.plain for argument in launch.overrides)
    return str(launch.recipe), str(launch.config), launch.world_size, launch.nodes, overrides


# --- command lines that start a run -------------------------------------------------------------------------------

STARTED: list[tuple[str, tuple[Any, ...]]] = [
    ("tune run r --config c", ("r", "c", None, 1, "")),
    ("tune run r --config c lr=1", ("r", "c", None, 1, "lr=1")),
    ("tune run r a=1 --config c b=2", ("r", "c", None, 1, "a=1 b=2")),
    ("tune run --nproc_per_node 4 r --config c", ("r", "c", 4, 1, "")),
    ("tune run --nproc-per-node=4 r --config c", ("r", "c", 4, 1, "")),
    ("tune run --nproc 4 r --config c", ("r", "c", 4, 1, "")),
    ("tune run --nnodes 2 --nproc_per_node 8 r --config c", ("r", "c", 16, 2, "")),
    ("tune run --nnodes=2:2 --nproc_per_node=3 r --config c", ("r", "c", 6, 2, "")),
    ("tune run --nnodes 1:4 --nproc_per_node 8 r --config c", ("r", "c", None, None, "")),
    ("tune run --nnodes 3 r --config c", ("r", "c", 3, 3, "")),
    ("tune run --standalone r --config c", ("r", "c", 1, 1, "")),
    ("tune run --nproc_per_node gpu r --config c", ("r", "c", None, 1, "")),
    ("CUDA_VISIBLE_DEVICES=0,3 tune run --nproc_per_node gpu r --config c", ("r", "c", 2, 1, "")),
    ("CUDA_VISIBLE_DEVICES=$D tune run --nproc_per_node gpu r --config c", ("r", "c", None, 1, "")),
    ("tune run --nproc_per_node $N r --config c", ("r", "c", None, 1, "")),
    ("tune run --rdzv_backend c10d --rdzv_endpoint h:1 --nnodes 2 r --config c", ("r", "c", 2, 2, "")),
    ("tune run --master-port 29501 --nproc_per_node 2 -r 3 -t 3 r --config c", ("r", "c", 2, 1, "")),
    ("tune run my/recipe.py --config c.yaml", ("my/recipe.py", "c.yaml", None, 1, "")),
    ("WANDB_MODE=off A='b c' tune run r --config c", ("r", "c", None, 1, "")),
    ("env A=1 tune run r --config c", ("r", "c", None, 1, "")),
    ("nohup tune run r --config c x=1 > log.txt 2>&1 &", ("r", "c", None, 1, "x=1")),
    ("srun --gpus=8 tune run --nproc_per_node 8 r --config c", ("r", "c", 8, 1, "")),
    ("uv run tune run r --config c", ("r", "c", None, 1, "")),
    ("/opt/venv/bin/tune run r --config c", ("r", "c", None, 1, "")),
    ("python -m torchtune._cli.tune run r --config c", ("r", "c", None, 1, "")),
    ("cd x && tune run r --config c; echo done", ("r", "c", None, 1, "")),
    ("time tune run r --config c | tee log", ("r", "c", None, 1, "")),
    ("tune run \\\n  --nproc_per_node 2 \\\n  r \\\n  --config c \\\n  a=1\n", ("r", "c", 2, 1, "a=1")),
    ("tune run r \\\r\n  --config c \\\r\n  a=1\r\n", ("r", "c", None, 1, "a=1")),
    ("tune run r --config c 'a=x y' \"b=z\"", ("r", "c", None, 1, "a=x y b=z")),
    ("tune run r --config c a=[1,2] b={x:1,y:2}", ("r", "c", None, 1, "a=[1,2] b={x:1,y:2}")),
    ("tune run r --config c 'p=${output_dir}/x' q=\\${z}", ("r", "c", None, 1, "p=${output_dir}/x q=${z}")),
    ("tune run r --config c ~profiler", ("r", "c", None, 1, "~profiler")),
    ("tune run r --config c x=1 # y=2", ("r", "c", None, 1, "x=1")),
    ("tune run r --config c x=$(nproc) y=`date`", ("r", "c", None, 1, "x=$(nproc) y=`date`")),
    ("tune run r --config c d=<YOUR_DIR> e=1", ("r", "c", None, 1, "d=<YOUR_DIR> e=1")),
    ("bash -c 'tune run r --config c a=1'", ("r", "c", None, 1, "a=1")),
    ('bash -c "tune run r --config c a=\\"b c\\""', ("r", "c", None, 1, "a=b c")),
    ('sbatch --wrap="tune run r --config c"', ("r", "c", None, 1, "")),
    ("ssh host 'cd /x; tune run --nproc_per_node 2 r --config c'", ("r", "c", 2, 1, "")),
    ("torchrun --nproc_per_node 4 recipes/lora_finetune_distributed.py --config c.yaml a=1",
     ("recipes/lora_finetune_distributed.py", "c.yaml", 4, 1, "a=1")),
    ("python -m torch.distributed.run --nproc_per_node 2 full_finetune_distributed.py --config c.yaml",
     ("full_finetune_distributed.py", "c.yaml", 2, 1, "")),
    ("python3 recipes/full_finetune_single_device.py --config c.yaml",
     ("recipes/full_finetune_single_device.py", "c.yaml", None, 1, "")),
    ("python -m recipes.full_finetune_single_device --config c.yaml",
     ("recipes/full_finetune_single_device", "c.yaml", None, 1, "")),
    ("tune run $RECIPE --config c", ("$RECIPE", "c", None, 1, "")),
    ("tune run r --config $CONFIG", ("r", "$CONFIG", None, 1, "")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), STARTED, ids=[text[:60] for text, _ in STARTED])
def test_command_line(text: str, wanted: tuple[Any, ...]) -> None:
    launch = one(text)
    assert launch.refused is None
    assert said(launch) == wanted


# --- command lines that torchtune's launcher refuses, and those that are none -----------------------------------

REFUSED = [
    ("tune run", "no recipe"),
    ("tune run --nproc_per_node 2", "no recipe"),
    ("tune run r", "--config"),
    ("tune run r a=1", "--config"),
    ("tune run r --config", "--config"),
    ("tune run r --config=c", "two words"),
    ("tune run --config c r", "before the recipe"),
    ("tune run r --config c --epochs 3", "--epochs"),
    ("tune run r --config c stray", "stray"),
    ("tune run r --config c 'unclosed", "unclosed"),
]


@pytest.mark.parametrize(("text", "why"), REFUSED, ids=[text for text, _ in REFUSED])
def test_refused_as_the_launcher_refuses(text: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    launch = one(text)
    assert launch.refused is not None
    assert why in launch.refused
    assert main(["show", text]) == 2
    assert why in capsys.readouterr().err


NONE = [
    "tune ls",
    "tune download a/b",
    "tune cp llama3_1/8B_lora x.yaml",
    "echo tune run r --config c",
    "echo 'tune run r --config c'",
    "# tune run r --config c",
    "pip install torchtune",
    "python train.py --config c.yaml",
    "torchrun train.py --config c.yaml",
    "python lora_finetune_single_device.py",
    "fine tune",
    "tune\nrun r --config c",
]


@pytest.mark.parametrize("text", NONE)
def test_no_launch_command(text: str) -> None:
    assert found(text) == []


NOTED = [
    ("tune run --nproc_per_node $N r --config c", "--nproc_per_node $N"),
    ("tune run --nnodes 1:4 r --config c", "elastic"),
    ("tune run --frobnicate r --config c", "torchrun has no option `--frobnicate`"),
    ("tune run r --config c $EXTRA", "what `$EXTRA` adds"),
    ('tune run r --config c "$@"', "what `$@` adds"),
    ("tune run $R --config c", "the recipe is $R"),
]


@pytest.mark.parametrize(("text", "note"), NOTED, ids=[text for text, _ in NOTED])
def test_what_is_not_known_is_said(text: str, note: str) -> None:
    assert any(note in said for said in one(text).notes)


# --- variables ----------------------------------------------------------------------------------------------------

VARIABLES = [
    ("LR=2e-5\n{}", "a=$LR", "a=2e-5"),
    ("export LR=2e-5\n{}", "a=${LR}", "a=2e-5"),
    ("LR=2e-5; {}", "'a=$LR'", "a=$LR"),
    ("A=x B=$A/y\n{}", "a=$B", "a=x/y"),
    ("readonly A=x\n{}", 'a="$A b"', "a=x b"),
    ("A='1 2'\n{}", "$A x=3", None),
    ("A='b=1 c=2'\n{}", "$A", "b=1 c=2"),
    ("A=(b=1 'c=2 3')\n{}", '"${A[@]}"', "b=1 c=2 3"),
    ("A=(b=1)\nA+=(c=2)\n{}", '"${A[@]}"', "b=1 c=2"),
    ("A=x\nA+=y\n{}", "a=$A", "a=xy"),
    ("N=2\n{}", "a=$((N * 4 + 1))", "a=9"),
    ("{}", "a=$((N * 4))", "a=$((N * 4))"),
    ("{}", "a=$LR", "a=$LR"),
    ("{}", "a=${LR:-3}", "a=${LR:-3}"),
    ("LR=1\n{}", "a=${LR:-3}", "a=1"),
    ("LR=$1\n{}", "a=$LR", "a=$1"),
    ("read LR\n{}", "a=$LR", "a=$LR"),
    ("LR=1\nread LR\n{}", "a=$LR", "a=$LR"),
    ("LR=1\nLR=2\n{}", "a=$LR", "a=2"),
    ("LR=1 {}", "a=$LR", "a=$LR"),
    ("{}\nLR=1", "a=$LR", "a=$LR"),
    ("for s in 1 2; do\n{}\ndone", "a=$s", "a=$s"),
    ("for s in 1; do {}; done", "a=$s", "a=1"),
    ("for s in *; do {}; done", "a=$s", "a=$s"),
    ("i=0\nwhile true; do\n{}\ni=$((i+1))\ndone", "a=$i", "a=$i"),
    ("if x; then LR=1; else LR=2; fi\n{}", "a=$LR", "a=$LR"),
    ("LR=1\nif x; then\n{}\nLR=2\nfi", "a=$LR", "a=1"),
    ("if x; then LR=1\n{}\nfi", "a=$LR", "a=1"),
    ("case $1 in\na) LR=1 ;;\n*) LR=2 ;;\nesac\n{}", "a=$LR", "a=$LR"),
    ("LR=1\n(LR=2)\n{}", "a=$LR", "a=1"),
    ("LR=1\nx && LR=2\n{}", "a=$LR", "a=$LR"),
    ("LR=1\nf() {{\n{}\n}}\nLR=2\nf", "a=$LR", "a=$LR"),
    ("LR=1\nf() {{ LR=2; }}\n{}", "a=$LR", "a=$LR"),
    ("A=(x y)\n{}", "a=$A", "a=x"),
]


@pytest.mark.parametrize(("script", "override", "wanted"), VARIABLES)
def test_variables(script: str, override: str, wanted: str | None) -> None:
    launch = one(script.format(f"tune run r --config c {override}"), "x.sh")
    if wanted is None:
        assert launch.refused is not None
        return
    assert " ".join(argument.plain for argument in launch.overrides) == wanted
    unknown = any(is_marked(argument.text) for argument in launch.overrides)
    assert unknown == ("$" in wanted and "'" not in override)


def test_here_document() -> None:
    launch = one("LR=3\ncat <<EOF > job.sh\ntune run r --config c a=$LR b=\\$B\nEOF\nsbatch job.sh\n", "x.sh")
    assert said(launch)[-1] == "a=3 b=$B"
    assert launch.position == (3, 1)
    raw = one("LR=3\ncat <<'EOF' > job.sh\ntune run r --config c a=$LR\nEOF\n", "x.sh")
    assert said(raw)[-1] == "a=$LR"


# --- scripts, notebooks, Makefiles ------------------------------------------------------------------------------


def places(name: str) -> list[tuple[Any, ...]]:
    path = LAUNCH / name
    return [(*said(launch), tuple(launch.position)) for launch in launches.find(path.read_bytes(), str(path))]


def test_shell_script() -> None:
    common = "batch_size=4 dataset.source=our/rows epochs=2"
    first = f"optimizer.lr=2e-5 output_dir=/data/$USER/runs/lora max_steps_per_epoch=$STEPS {common}"
    assert places("train.sh") == [
        ("lora_finetune_distributed", "llama3_1/8B_lora", 2, 1, first, (19, 32)),
        ("lora_finetune_single_device", "configs/own.yaml", None, 1, "seed=$seed", (26, 5)),
        ("eleuther_eval", "eleuther_evaluation", None, 1, "", (29, 1)),
    ]


def test_slurm_script() -> None:
    (found,) = places("nodes.slurm")
    assert found[2:4] == (16, 2)
    assert found[4] == "checkpointer.output_dir=$SCRATCH/full optimizer.lr=${LR:-1e-5}"


def test_makefile() -> None:
    overrides = "optimizer.lr=3e-5 output_dir=out/$(NAME) seed=7"
    assert places("Makefile") == [("lora_finetune_distributed", "llama3_1/8B_lora", 2, 1, overrides, (9, 11))]


def test_notebook() -> None:
    text = (LAUNCH / "train.ipynb").read_text(encoding="utf-8")
    (launch,) = launches.find(text.encode(), "train.ipynb")
    assert said(launch)[-1] == "optimizer.lr=0.0001 model.lora_rank={rank} output_dir=/content/out"
    lines = text.split("\n")
    for argument in launch.overrides:
        line, column = argument.position
        key = argument.plain.split("=")[0]
        assert lines[line - 1][column - 1 :].startswith(key)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"cells": 3}', '{"cells": [{"cell_type": "code", "source": 1}]}'])
def test_broken_notebook_holds_nothing(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.ipynb"
    path.write_text(text, encoding="utf-8")
    assert main(["show", str(path)]) == 2
    assert "no launch command" in capsys.readouterr().err


def test_cell_magic_is_shell() -> None:
    cell = {"cell_type": "code", "source": ["%%bash\n", "LR=1\n", "tune run r --config c a=$LR\n"]}
    assert said(one(json.dumps({"cells": [cell]}), "x.ipynb"))[-1] == "a=1"


# --- a config through its command -----------------------------------------------------------------------------------


def test_the_command_of_the_readme() -> None:
    result = api.convert(
        "tune run --nproc_per_node 4 lora_finetune_distributed --config llama3_1/8B_lora batch_size=4", "axolotl"
    )
    assert result.refused is None
    assert result.source.recipe == "lora_finetune_distributed"
    assert result.source["model.base"] == "meta-llama/Meta-Llama-3.1-8B-Instruct"
    assert result.source["parallel.world_size"] == 4
    assert result.keys["micro_batch_size"] == 4
    assert list(result.files) == ["8B_lora.axolotl.yaml"]
    assert result.ledger.source["path"] == "llama3_1/8B_lora (torchtune 0.6.1)"
    command = result.ledger.source["command"]
    assert isinstance(command, dict)
    assert (command["file"], command["line"], command["column"]) == ("<command>", 1, 1)
    (entry,) = [entry for entry in result.ledger.entries if entry.source_path == "batch_size"]
    assert (entry.verdict.word, entry.file, entry.line, entry.column) == ("exact", "<command>", 1, 81)
    assert result.target is not None
    assert result.target["parallel.world_size"] == 4


def test_a_command_is_the_file_with_its_overrides(wheel: Path) -> None:
    """Through the catalogue or from the file: the same run, but for where things stand."""
    options = (
        "optimizer.lr=1e-3 dataset=torchtune.datasets.alpaca_dataset ~clip_grad_norm model.lora_attn_modules=[q_proj]"
    )
    command = f"{LORA} {options}"
    path = wheel / "llama3_1" / "8B_lora_single_device.yaml"
    through = api.read(command)
    from_file = api.read(str(path), overrides=options.split())
    assert {name: found.value for name, found in through.settings.items()} == {
        name: found.value for name, found in from_file.settings.items()
    }
    document = api.load(command).document
    overridden = {format_path(leaf.path) for leaf in document.leaves.values() if leaf.source is Source.OVERRIDE}
    assert overridden == {"optimizer.lr", "dataset._component_", "model.lora_attn_modules"}
    assert all(leaf.said is not None for leaf in document.leaves.values() if leaf.source is Source.OVERRIDE)


def test_unknown_values_are_manual_with_their_place() -> None:
    result = api.convert(str(LAUNCH / "train.sh"), "axolotl", number=1)
    lines = (LAUNCH / "train.sh").read_text(encoding="utf-8").split("\n")
    manual = {entry.source_path: entry for entry in result.ledger.entries if entry.verdict.word == "manual"}
    assert {"output_dir", "max_steps_per_epoch"} <= set(manual)
    entry = manual["max_steps_per_epoch"]
    assert entry.value == Unresolved("$STEPS")
    assert entry.file == str(LAUNCH / "train.sh")
    assert entry.line is not None
    assert entry.column is not None
    assert lines[entry.line - 1][entry.column - 1 :].startswith("max_steps_per_epoch=$STEPS")
    (text,) = result.files.values()
    assert "# TODO duration.epoch_steps: $STEPS" in text
    known = {entry.source_path: entry for entry in result.ledger.entries}["optimizer.lr"]
    assert (known.verdict.word, known.value, known.line) == ("exact", 2e-5, 22)


def test_values_told_beside_the_command_win() -> None:
    result = api.read(str(LAUNCH / "train.sh"), overrides=["max_steps_per_epoch=50"], number=1)
    assert result["duration.epoch_steps"] == 50


def test_multi_node_in_and_out() -> None:
    result = api.convert(str(LAUNCH / "nodes.slurm"), "axolotl")
    assert result.source["parallel.world_size"] == 16
    assert result.source["launch.nodes"] == 2
    assert result.target is not None
    assert result.target["parallel.world_size"] == 16
    assert result.target["launch.nodes"] == 2
    lines = [command.line for command in result.commands]
    shape = "--nnodes 2 --nproc_per_node 8 --rdzv_id 101 --rdzv_backend c10d --rdzv_endpoint <first machine>:29500"
    assert lines[0] == f"axolotl train nodes.axolotl.yaml --launcher torchrun -- {shape}"
    assert lines[1] == f"srun torchrun {shape} -m axolotl.cli.train nodes.axolotl.yaml"
    assert lines[2].startswith("accelerate launch --num_machines 2 --num_processes 16 --machine_rank ")


NODE_COUNTS = [
    ("--nproc_per_node 8", 8, 1, ["--num-processes 8"]),
    ("--nproc_per_node $N", WORLD_SIZE, 1, ["<number of GPUs: W>"]),
    ("--nnodes 3 --nproc_per_node 2", 6, 3, ["--nnodes 3 --nproc_per_node 2 ", "--num_processes 6 "]),
    ("--nnodes 3 --nproc_per_node $N", WORLD_SIZE, 3, ["--nnodes 3 --nproc_per_node <", "--num_machines 3 "]),
    ("--nnodes $N --nproc_per_node 8", WORLD_SIZE, NODES, ["--nnodes <number of machines: N>"]),
]


@pytest.mark.parametrize(("options", "world", "nodes", "wanted"), NODE_COUNTS)
def test_world_and_nodes_are_read_back(options: str, world: object, nodes: object, wanted: list[str]) -> None:
    result = api.convert(f"tune run {options} lora_finetune_distributed --config llama3_1/8B_lora", "axolotl")
    assert result.target is not None
    for run in (result.source, result.target):
        assert (run["parallel.world_size"], run["launch.nodes"]) == (world, nodes)
    lines = "\n".join(command.line for command in result.commands)
    assert all(text in lines for text in wanted)


HEADERS = [
    ("axolotl train x.yaml --launcher python", 1, 1),
    ("axolotl train x.yaml --launcher accelerate -- --num-processes 4", 4, 1),
    ("axolotl train x.yaml --launcher torchrun -- --nnodes 2 --nproc_per_node 4", 8, 2),
    ("accelerate launch --num_machines 2 --num_processes 8 -m axolotl.cli.train x.yaml", 8, 2),
    ("torchrun --nproc_per_node=4 -m axolotl.cli.train x.yaml", 4, 1),
    ("tune run --nproc_per_node 4 r --config c", WORLD_SIZE, 1),
]


@pytest.mark.parametrize(("line", "world", "nodes"), HEADERS)
def test_axolotl_header(line: str, world: object, nodes: object, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"# {line}\nbase_model: a/b\nmicro_batch_size: 1\n", encoding="utf-8")
    run = api.read(str(path), AXOLOTL.name)
    assert (run["parallel.world_size"], run["launch.nodes"]) == (world, nodes)


RECIPES = [
    ("tune run lora_finetune_single_device", "lora_finetune_single_device", "named by the launch command"),
    ("tune run recipes/lora_finetune_single_device.py", "lora_finetune_single_device", "taken for torchtune's own"),
    ("tune run my/own.py", "my/own.py", "is no recipe of torchtune"),
]


@pytest.mark.parametrize(("start", "recipe", "how"), RECIPES)
def test_recipe(start: str, recipe: str, how: str) -> None:
    run = api.read(f"{start} --config llama3_1/8B_lora_single_device")
    assert run.recipe == recipe
    assert how in run.recipe_from


def test_a_custom_recipe_is_refused_until_it_is_told() -> None:
    command = "tune run my/own.py --config llama3_1/8B_lora_single_device"
    refused = api.convert(command, "axolotl")
    assert refused.refused is not None
    assert "my/own.py" in refused.refused
    assert api.convert(command, "axolotl", recipe="lora_finetune_single_device").refused is None


# --- exit statuses ------------------------------------------------------------------------------------------------


def test_show_and_diff(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", f"{LORA} batch_size=3"]) == 0
    assert "micro_size                 3" in capsys.readouterr().out
    assert main(["diff", LORA, f"{LORA} batch_size=3"]) == 1
    assert "batch.micro_size" in capsys.readouterr().out
    assert main(["diff", LORA, LORA]) == 0


FAILING = [
    ([f"{LORA} batch_size"], "no `=`"),
    ([f"{LORA} dataset.=3=4"], "is refused"),
    ([f"{LORA} ~nokey"], "no key `nokey`"),
    ([f"{LORA} $KEY=3"], "only the shell knows which key `$KEY` is"),
    (["tune run r --config $C"], "only the shell knows which config"),
    (["tune run r --config no/such"], "neither a config that torchtune 0.6.1 ships nor a file here"),
    (["tune run r --config llama3_1/8B_lor"], "did you mean llama3_1/8B_lora?"),
    (["tune run r --config qwen3/8B_lora"], "say --from torchtune@main"),
    (["tune run r --config llama2/7B_full_early_exit"], "ships no such file"),
    ([LORA, "--from", "axolotl"], "torchtune's, not axolotl's"),
    (["no such thing"], "no launch command known here"),
    (["x " * 3000], "no launch command known here"),
]


@pytest.mark.parametrize(("arguments", "message"), FAILING, ids=[message for _, message in FAILING])
def test_exit_2_with_the_reason(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", *arguments, "--to", "axolotl"]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_main_ships_what_the_release_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    command = "tune run lora_finetune_distributed --config qwen3/8B_lora"
    assert main(["show", command, "--from", "torchtune@main"]) == 0
    assert "Qwen/Qwen3-8B" in capsys.readouterr().out


def test_a_refused_override_is_placed_in_the_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.sh"
    path.write_text(f"# one\n{LORA} \\\n   ~nokey\n", encoding="utf-8")
    assert main(["show", str(path)]) == 2
    assert f"{path}:3:4: error:" in capsys.readouterr().err


def test_several_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(LAUNCH / "train.sh"), "--to", "axolotl"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    for text in ("3 launch commands", "--command N", "1  line 19: tune run", "2  line 26: ", "3  line 29: "):
        assert text in said.err
    assert main(["convert", str(LAUNCH / "train.sh"), "--to", "axolotl", "--command", "4"]) == 2
    assert "no number 4" in capsys.readouterr().err


def test_one_of_several(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(LAUNCH / "train.sh"), "--to", "axolotl", "--command", "2"]) == 0
    assert "# TODO seed: $seed" in capsys.readouterr().out


def test_a_file_for_each_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, report = tmp_path / "out", tmp_path / "report.json"
    arguments = ["convert", str(LAUNCH / "train.sh"), "--to", "axolotl", "-o", str(out), "--report", str(report)]
    assert main(arguments) == 2  # the evaluation is no training
    assert sorted(path.name for path in out.iterdir()) == ["train-1.axolotl.yaml", "train-2.axolotl.yaml"]
    ledgers = json.loads(report.read_text(encoding="utf-8"))["conversions"]
    assert [ledger["source"]["command"]["line"] for ledger in ledgers] == [19, 26, 29]
    assert [bool(ledger["refused"]) for ledger in ledgers] == [False, False, True]
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert main(arguments) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*arguments, "--force"]) == 2
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_one_command_into_a_directory(tmp_path: Path) -> None:
    assert main(["convert", str(LAUNCH / "Makefile"), "--to", "axolotl", "-o", str(tmp_path)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile.axolotl.yaml"]


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"LR=1e-3\n{LORA} optimizer.lr=$LR\n".encode())))
    assert main(["convert", "-", "--to", "axolotl"]) == 0
    assert "learning_rate: 0.001" in capsys.readouterr().out


def test_a_config_of_a_file_is_found_from_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the working directory, else from the script's directory and those above it up to the repository's root."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / ".git").mkdir()
    script = tmp_path / "a" / "b" / "x.sh"
    script.write_text("tune run lora_finetune_single_device --config own.yaml\n", encoding="utf-8")
    (tmp_path / "own.yaml").write_text("seed: 1\n", encoding="utf-8")
    with pytest.raises(api.UnreadableError):
        api.load(str(script))
    (tmp_path / "a" / "own.yaml").write_text("seed: 2\n", encoding="utf-8")
    assert api.load(str(script)).document.tree == {"seed": 2}
    monkeypatch.chdir(tmp_path)
    assert api.load(str(script)).document.tree == {"seed": 1}


def test_a_config_that_is_a_script_by_no_sign_stays_a_config() -> None:
    assert api.load(str(FIXTURES / "torchtune" / "llama_lora.yaml")).document.launch is None


# --- the catalogue ------------------------------------------------------------------------------------------------


def _roots() -> list[tuple[str, Path]]:
    main_configs = CORPUS / "torchtune-main" / "recipes" / "configs"
    release = [("0.6.1", WHEEL)] if WHEEL is not None else []
    return release + ([("main", main_configs)] if main_configs.is_dir() else [])


def test_the_catalogue_is_what_is_shipped() -> None:
    roots = _roots()
    if not roots:
        pytest.skip("neither the torchtune wheel nor the corpus is here: the catalogue is NOT compared")
    for version, root in roots:
        configs = catalogue.configs(version)
        registered = {
            name.removeprefix("config "): keys[""]
            for name, keys in schema.load("torchtune", version).sections.items()
            if name.startswith("config ") and not keys[""].get("missing")
        }
        assert set(configs) == set(registered)
        for name, about in registered.items():
            path = root / about["file"].removeprefix("recipes/configs/")
            plain_tree = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
            tree = catalogue.tree(name, version)
            assert repr(tree) == repr(plain_tree), f"{version} {name}"
            ours = parse(path.read_bytes(), str(path), OMEGACONF, lenient=True)
            built = catalogue.shipped(name, version, ())
            assert built is not None
            assert repr(built.tree) == repr(ours.tree)
            assert [(leaf.path, leaf.value, leaf.via) for leaf in built.leaves.values()] == [
                (leaf.path, leaf.value, leaf.via) for leaf in ours.leaves.values()
            ]


@pytest.mark.parametrize("version", ["0.6.1", "main"])
def test_the_catalogue_reads_as_the_files_do(version: str) -> None:
    """The same hub model, found from the header made of data as from the file's own comments."""
    roots = dict(_roots())
    if version not in roots:
        pytest.skip(f"the configs of torchtune {version} are not here: NOT compared")
    for name in catalogue.configs(version):
        about = schema.load("torchtune", version).sections[f"config {name}"][""]
        recipe = about["recipes"][0]
        through = api.read(f"tune run {recipe} --config {name}", f"torchtune@{version}")
        path = roots[version] / about["file"].removeprefix("recipes/configs/")
        from_file = api.read(str(path), f"torchtune@{version}", recipe=recipe)
        for setting in ("model.base", "tokenizer.source", "optimizer.learning_rate", "method.name"):
            assert through[setting] == from_file[setting], f"{name}: {setting}"


def test_the_catalogue_holds_no_prose() -> None:
    for version in ("0.6.1", "main"):
        assert len(catalogue.configs(version)) >= 155
        for name in catalogue.configs(version):
            tree = catalogue.tree(name, version)
            assert tree is not None
            assert not any("#" in str(value) for _, value in walk(tree))


# --- whatever comes -------------------------------------------------------------------------------------------------

_BITS = st.sampled_from(
    ["tune", "run", "tune run", " ", "\n", "\t", "\\\n", "--config", "--nproc_per_node", "llama3_1/8B_lora", "$X",
     "${X:-1}", "$(", ")", "'", '"', "`", "{", "}", "<<EOF", "EOF", "for x in", "do", "done", "if", "fi", "case",
     "esac", ";;", "&&", "|", "X=1", "X=(", "lr=1", "=", "~", "#",
     "$((", "))", "f() {", "\\", "<A_B>", "é", "\r", "export"]
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_BITS, max_size=40).map(" ".join) | st.lists(_BITS, max_size=40).map("".join) | st.text(max_size=80))
def test_no_text_breaks_it(text: str) -> None:
    for name in ("x.sh", "Makefile", "x.ipynb"):
        content = text if name != "x.ipynb" else json.dumps({"cells": [{"cell_type": "code", "source": ["!" + text]}]})
        if name == "Makefile":
            content = "a:\n\t" + text
        try:
            commands = scripts.read(content.encode("utf-8", "replace"), name)
            launches.find(content.encode("utf-8", "replace"), name)
        except DocumentError:
            continue
        lines = content.split("\n")
        for command in commands:
            assert 1 <= command.position.line <= len(lines) + content.count("\r") + 5


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["--config", "c", "r", "a=1", "--x", "-m", "--nnodes", "2", "$X", "~a", "=", ""])))
def test_no_arguments_break_it(words: list[str]) -> None:
    for launch in found("tune run " + " ".join(words)):
        assert launch.framework == "torchtune"
        assert launch.refused or launch.config


@given(st.text(max_size=20))
def test_marks(text: str) -> None:
    assert unmark(f"a{mark(text)}b") == Unresolved(f"a{text}b".encode("utf-8", "replace").decode())
    assert plain(mark("$X") + "=1") == "$X=1"


def test_every_key_may_be_unknown() -> None:
    """A value that only the shell knows, at each key in turn: converted without a fault, and manual or inert."""
    document = api.load(LORA).document
    for path in document.leaves:
        if any(isinstance(step, int) for step in path):
            continue
        result = api.convert(f"{LORA} {format_path(path)}=$VALUE", "axolotl")
        (entry,) = [entry for entry in result.ledger.entries if entry.source_path == format_path(path)]
        assert entry.value == Unresolved("$VALUE")
        if result.refused is None:
            assert entry.verdict.word in ("manual", "inert"), f"{format_path(path)}: {entry}"
