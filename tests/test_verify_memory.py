"""Level memory: the tracer against closed forms, real tensors and torch's profiler; what is reckoned from its traces.

What runs a framework needs its environment (FTMIGRATE_PYTHON_*); without it the test is skipped, loudly.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ftmigrate.cli import main
from ftmigrate.conversion import convert
from ftmigrate.frameworks import registry
from ftmigrate.frameworks.reader import Context
from ftmigrate.frameworks.reader import read as read_document
from ftmigrate.verify import architectures, environments, memory_level
from ftmigrate.verify.memory_devices import Division, NotDivided, division
from ftmigrate.verify.memory_level import Config, Estimate, NotTraced, Options
from ftmigrate.verify.page import page
from ftmigrate.verify.probe import Probe, clean_environment
from ftmigrate.verify.results import LEVELS, Outcome, Result, included, status
from ftmigrate.verify.trial import plain
from tests.conftest import FIXTURES

BASE = FIXTURES / "torchtune" / "parity" / "base.yaml"
SOURCE, TARGET = ("torchtune", "0.6.1"), ("axolotl", "0.21.0")
VERIFY = Path(memory_level.__file__).parent
CASES = Path(__file__).parent / "memory_cases.py"
GIB = 2**30


def source(overrides: tuple[str, ...] = (), recipe: str = "lora_finetune_single_device", world: int = 1) -> Config:
    framework = registry.get(SOURCE[0])
    document = framework.parse(BASE.read_bytes(), str(BASE), overrides)
    run = read_document(framework.table(SOURCE[1]), document, Context(recipe, world))
    return Config(plain(document.tree), run, framework, SOURCE[1], str(BASE))


# --- what is reckoned from traces ---------------------------------------------------------------------------------


def trace(layers: int, activations: int = 0, total: int = 10) -> dict[str, Any]:
    """Per layer: 100 bytes of weights, all trained, with gradients and states; 50 bytes besides."""
    weights = 100 * layers + 50
    split = {"weights": weights, "gradients": 0, "optimizer": 2 * weights, "logits": 7, "activations": activations,
             "step": 0, "paged": 3}  # fmt: skip
    stepping = {**split, "gradients": weights, "activations": 0, "logits": 0}
    return {"layers": layers, "all": total, "peaks": {"forward": dict(split), "backward": dict(split), "optimizer": stepping},
            "weights": weights, "trained": weights // 2, "trained_bytes": weights, "states": 2 * weights}  # fmt: skip


def test_layers_that_were_not_traced_follow_linearly() -> None:
    traces = [trace(2, 20), trace(3, 30), trace(4, 40)]
    assert memory_level.straight(traces)
    found = memory_level.extrapolated(traces, "forward", 10)
    assert (found["weights"], found["activations"], found["logits"]) == (1050, 100, 7)


def test_a_bend_is_seen() -> None:
    assert not memory_level.straight([trace(2, 20), trace(3, 90), trace(4, 40)])


def given(**settings: Any) -> Any:
    """The base config's settings, some of them changed (`__` for the dot)."""
    run = source().run
    return {path: run[path] for path in run.settings} | {
        path.replace("__", "."): value for path, value in settings.items()
    }


def apart(run: Any, layers: int = 10) -> dict[str, float]:
    return division(run).apply(
        {"weights": 1050.0, "gradients": 1050.0, "optimizer": 2100.0, "activations": 40.0, "step": 8.0},
        {"weights": 1050.0, "trained_bytes": 1050.0, "trained": 262.5, "states": 2100.0}, 100.0, layers, {},
    )  # fmt: skip


def test_fully_sharded_states_are_divided_and_two_layers_gathered() -> None:
    found = apart(given(parallel__strategy="fsdp2", parallel__world_size=4, parallel__cpu_offload=False))
    assert (found["weights"], found["gradients"], found["optimizer"], found["step"]) == (262.5, 262.5, 525, 2)
    assert found["activations"] == 40
    assert found["communication"] == (50 + 2 * 100 + 100) * 3 / 4


def test_what_stays_gathered_after_the_forward_pass_is_counted() -> None:
    found = apart(given(parallel__strategy="fsdp2", parallel__world_size=4, parallel__reshard_after_forward=False))
    assert found["communication"] == (1050 + 100) * 3 / 4


def test_copies_hold_everything_and_buffers_for_gradients() -> None:
    found = apart(given(parallel__strategy="ddp", parallel__world_size=4))
    assert (found["weights"], found["gradients"], found["optimizer"]) == (1050, 1050, 2100)
    assert found["communication"] == 1050


@pytest.mark.parametrize(
    ("stage", "expected"), [(1, (1050, 1050, 525)), (2, (1050, 262.5, 525)), (3, (262.5, 262.5, 525))]
)
def test_zero_divides_by_stage(stage: int, expected: tuple[float, float, float]) -> None:
    found = apart(given(parallel__strategy="deepspeed", parallel__world_size=4, parallel__zero_stage=stage))
    assert (found["weights"], found["gradients"], found["optimizer"]) == expected


def test_zero_keeps_states_of_16_bit_weights_in_fp32() -> None:
    run = given(parallel__strategy="deepspeed", parallel__world_size=2, parallel__zero_stage=2)
    found = division(run).apply({"optimizer": 4000.0}, {"weights": 2000.0, "trained_bytes": 2000.0, "trained": 1000.0,
                                                       "states": 4000.0}, 100.0, 10, {})  # fmt: skip
    assert found["optimizer"] == 12 * 1000 / 2


def test_what_is_offloaded_is_not_on_the_device() -> None:
    found = apart(given(parallel__strategy="fsdp2", parallel__world_size=4, parallel__cpu_offload=True))
    assert (found["weights"], found["gradients"], found["optimizer"]) == (0, 0, 0)


def test_divided_peaks_keep_their_activations() -> None:
    kept = Division("fsdp2", 8, ("weights",), (), True, ()).apply(
        {"weights": 800.0, "activations": 5.0}, {"weights": 800.0, "trained_bytes": 0.0, "trained": 0.0, "states": 0.0},
        10.0, 80, {})  # fmt: skip
    assert kept == {"weights": 100.0, "activations": 5.0, "communication": 20 * 7 / 8}


@pytest.mark.parametrize(
    "settings",
    [{"parallel__strategy": "fsdp2", "parallel__world_size": "W"}, {"parallel__tensor": 2},
     {"parallel__strategy": "deepspeed", "parallel__world_size": 4, "parallel__zero_stage": "auto"}],
)  # fmt: skip
def test_what_is_spread_in_an_unknown_way_gives_no_figure(settings: dict[str, Any]) -> None:
    with pytest.raises(NotDivided):
        division(given(**settings))


def test_rows_are_as_long_as_packing_and_limits_say() -> None:
    packed = given(sequence__packing=True, sequence__max_length=4096)
    assert memory_level.shape(packed, 100) == (2, 4096, [])
    rows, length, notes = memory_level.shape(given(sequence__max_length=131072), None)
    assert (rows, length) == (2, memory_level.ASSUMED)
    assert "--row-length" in notes[0]
    assert memory_level.shape(given(sequence__max_length=131072), 300) == (2, 300, [])
    assert memory_level.shape(given(sequence__max_length=512), None)[1] == 512
    with pytest.raises(NotTraced):
        memory_level.shape(given(sequence__packing=True, sequence__max_length=None), None)


# --- the level ----------------------------------------------------------------------------------------------------


class Answering:
    """A probe that gives prepared traces."""

    def __init__(self, scale: float, refusal: str = "") -> None:
        self.scale, self.refusal, self.asked = scale, refusal, [dict[str, Any]()]

    def request(self, _: str, **told: Any) -> dict[str, Any]:
        self.asked.append(told)
        if self.refusal:
            return {"ok": False, "error": {"message": self.refusal}}
        return {"ok": True, "traces": [trace(n or 10, int(self.scale * 1000 * (n or 10))) for n in told["layers"]]}


def judged(first: Any, second: Any, *changes: str) -> Result:
    one, other = source(), source(changes)
    probes: Any = {"one": first, "other": second}
    named = [Config(config.tree, config.run, _Named(name), config.version) for name, config in
             (("one", one), ("other", other))]  # fmt: skip
    return memory_level.check(named, Options(), probes)


def _Named(name: str) -> Any:  # noqa: N802
    return type("Named", (), {"name": name, "title": name})


def test_equal_peaks_pass_and_are_told() -> None:
    found = judged(Answering(1), Answering(1.05))
    assert found.outcome is Outcome.PASSED
    assert found.differences == ()
    assert "3.7 % apart" in found.details[0]
    assert {"source", "target"} == set(found.data)
    assert any(detail.startswith("not covered:") for detail in found.details)


def test_another_peak_differs_with_the_setting_that_explains_it() -> None:
    found = judged(Answering(1), Answering(3), "enable_activation_checkpointing=true")
    assert found.outcome is Outcome.DIFFERS
    assert [(one.setting, one.told) for one in found.differences] == [("memory.activation_checkpointing", True)]
    assert status([found]) == 1


def test_a_difference_that_no_setting_explains_is_told_so() -> None:
    found = judged(Answering(1), Answering(3))
    assert [one.setting for one in found.differences] == [None]
    assert "no setting says so" in found.differences[0].text


def test_a_bend_has_all_layers_traced() -> None:
    probe = Answering(1)
    probe.request = lambda _, **told: {"ok": True, "traces": [trace(n or 10, (n or 10) ** 3) for n in told["layers"]]}  # type: ignore[method-assign]
    found = memory_level.check([Config(source().tree, source().run, _Named("one"), "")], Options(), {"one": probe})  # type: ignore[dict-item]
    assert found.data["source"]["bytes"] == found.data["source"]["all_layers_bytes"] > 1000
    assert any("straight line" in detail for detail in found.details)


def test_what_cannot_be_traced_is_no_pass() -> None:
    found = judged(Answering(1), Answering(1, "the recipe ppo is not traced"))
    assert (found.outcome, found.details) == (Outcome.NOT_RUN, ("other: the recipe ppo is not traced",))
    assert status([found]) == 2


def test_no_environment_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "find", lambda *_, **__: None)
    found = memory_level.check([source()], Options())
    assert found.outcome is Outcome.NOT_RUN
    assert "ftmigrate env create torchtune@0.6.1" in found.details[0]


def test_the_level_stands_apart() -> None:
    assert included("memory") == ("memory",)
    assert "memory" not in {name for level in LEVELS if level != "memory" for name in included(level)}


def test_one_config_is_enough_for_this_level_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(environments, "find", lambda *_, **__: None)
    assert main(["verify", str(BASE), "--level", "plan"]) == 2
    assert "name the TARGET" in capsys.readouterr().err
    report, shown = tmp_path / "found.json", tmp_path / "page.html"
    assert main(["verify", str(BASE), "--level", "memory", "--report", str(report), "--html", str(shown)]) == 2
    told = json.loads(report.read_text(encoding="utf-8"))
    assert [(one["level"], one["outcome"]) for one in told["levels"]] == [("memory", "could not run")]
    assert told["target"] is None
    assert "could not run" in shown.read_text(encoding="utf-8")


def test_a_conversion_is_not_taken_as_verified_without_a_figure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(environments, "find", lambda *_, **__: None)
    made = str(tmp_path / "made.yaml")
    assert main(["convert", str(BASE), "--to", "axolotl@0.21.0", "-o", made, "--verify=memory", "--recipe",
                 "lora_finetune_single_device"]) == 2  # fmt: skip
    assert "memory   could not run" in capsys.readouterr().err


def test_the_page_shows_the_peaks() -> None:
    level = judged(Answering(1), Answering(3), "enable_activation_checkpointing=true").json()
    side = {"path": "a.yaml", "framework": "torchtune", "version": "0.6.1"}
    text = page({"source": side, "target": side, "levels": [level], "differences": []})
    assert text.count("<rect") >= 6
    assert "data-memory='peak'" in text


# --- config.json --------------------------------------------------------------------------------------------------


def test_a_model_s_sizes_are_known_by_its_name() -> None:
    found = architectures.find("meta-llama/Llama-3.1-8B-Instruct")
    assert found is not None
    sizes = ("num_hidden_layers", "hidden_size", "vocab_size", "num_key_value_heads", "intermediate_size", "model_type")
    assert [found[key] for key in sizes] == [32, 4096, 128256, 8, 14336, "llama"]
    tied = architectures.find("meta-llama/Llama-3.2-1B")
    assert tied is not None
    assert tied["tie_word_embeddings"] is True
    assert architectures.find("nobody/nothing") is None


def test_a_local_config_json_is_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "Llama-3.1-8B-Instruct"
    model.mkdir()
    (model / "config.json").write_text('{"num_hidden_layers": 7}', encoding="utf-8")
    assert architectures.find("Llama-3.1-8B-Instruct", str(tmp_path / "a.yaml")) == {"num_hidden_layers": 7}
    cached = tmp_path / "models--org--name" / "snapshots" / "abc"
    cached.mkdir(parents=True)
    (cached / "config.json").write_text('{"num_hidden_layers": 9}', encoding="utf-8")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert architectures.find("org/name") == {"num_hidden_layers": 9}


# --- the tracer, in a framework's environment ---------------------------------------------------------------------


def interpreter(name: str, version: str) -> str:
    environment = environments.find(name, version)
    if environment is None:
        pytest.skip(f"NOT VERIFIED against {name} {version}: run `ftmigrate env create {name}`")
    return str(environment.python)


def run_cases(python: str, *more: str) -> dict[str, Any]:
    done = subprocess.run([python, str(CASES), str(VERIFY / "inside_memory.py"), *more], capture_output=True, text=True,
                          check=True, timeout=300, env=clean_environment(CUDA_VISIBLE_DEVICES=""))  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="session")
def cases() -> dict[str, Any]:
    return run_cases(interpreter(*SOURCE))


def held(case: Mapping[str, Any]) -> dict[str, int]:
    """Weights, gradients and states while the optimizer steps."""
    return {part: case["fake"]["peaks"]["optimizer"][part] for part in ("weights", "gradients", "optimizer")}


COUNTERS = 1000  # bytes: a step counter for each weight


@pytest.mark.parametrize(("name", "each"), [("fp32", 4), ("fp32 together", 4), ("bf16", 2)])
def test_a_full_fine_tune_takes_16_bytes_a_parameter_in_fp32_and_8_in_bf16(
    cases: dict[str, Any], name: str, each: int
) -> None:
    count = sum(cases["sizes"])
    found = held(cases["cases"][name])
    assert (found["weights"], found["gradients"]) == (each * count, each * count)
    assert 0 <= found["optimizer"] - 2 * each * count < COUNTERS
    assert 0 <= sum(found.values()) - 4 * each * count < COUNTERS


def test_only_what_is_trained_has_gradients_and_states(cases: dict[str, Any]) -> None:
    found, trained = held(cases["cases"]["adapter"]), cases["cases"]["adapter"]["fake"]["trained"]
    assert trained < sum(cases["sizes"]) / 4
    assert found["weights"] == 4 * sum(cases["sizes"])
    assert found["gradients"] == 4 * trained
    assert 0 <= found["optimizer"] - 8 * trained < COUNTERS


def test_stepping_all_weights_together_takes_another_copy(cases: dict[str, Any]) -> None:
    steps = [cases["cases"][name]["fake"]["peaks"]["optimizer"]["step"] for name in ("fp32", "fp32 together")]
    assert steps[1] == 4 * sum(cases["sizes"]) > 2 * steps[0]


def test_8_bit_states_take_a_quarter_and_a_scale_a_block(cases: dict[str, Any]) -> None:
    large = [size for size in cases["sizes"] if size >= 4096]
    small = sum(cases["sizes"]) - sum(large)
    expected = 2 * sum(size + 4 * -(-size // 256) for size in large) + 2 * 4 * small
    assert held(cases["cases"]["8 bit"])["optimizer"] == expected


def test_paged_states_are_no_part_of_the_peak_where_they_are_large(cases: dict[str, Any]) -> None:
    found = cases["cases"]["paged"]["fake"]["peaks"]["optimizer"]
    assert found["optimizer"] + found["paged"] == 8 * sum(cases["sizes"])
    assert found["paged"] == sum(8 * size for size in cases["sizes"] if size >= 100_000)


def test_checkpointing_lets_go_of_activations(cases: dict[str, Any]) -> None:
    sizes = [cases["cases"][name]["fake"]["peaks"]["forward"]["activations"] for name in ("fp32", "checkpointed")]
    assert sizes[1] < sizes[0] / 2


def test_fake_and_real_tensors_give_the_same_figures(cases: dict[str, Any]) -> None:
    for case in cases["cases"].values():
        assert case["fake"] == case["real"]


@pytest.mark.parametrize("name", ["fp32", "checkpointed", "adapter"])
def test_torch_s_own_profiler_sees_the_same_within_one_percent(cases: dict[str, Any], name: str) -> None:
    case = cases["cases"][name]
    before = case["fake"]["weights"] + case["fake"]["states"]
    traced = max(sum(split.values()) for split in case["fake"]["peaks"].values()) - before
    assert case["allocated"] == pytest.approx(traced, rel=0.01)


# --- the real frameworks ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def probes() -> Iterator[dict[str, Probe]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(Probe(interpreter(name, version), name)) for name, version in (SOURCE, TARGET)}


TINY = ("model.num_layers=6", "model.vocab_size=2048", "tokenizer.max_seq_len=128")


def target(folder: Path | None = None, **changes: Any) -> Config:
    """The conversion of the base config with overrides, with some keys changed; its model's config.json in `folder`."""
    framework, first = registry.get(TARGET[0]), registry.get(SOURCE[0])
    document = first.parse(BASE.read_bytes(), str(BASE), TINY)
    context = Context("lora_finetune_single_device", 1)
    made = convert(document, (first, SOURCE[1]), (framework, TARGET[1]), context, "made.yaml")
    (text,) = made.files.values()
    tree = plain(framework.parse(text.encode(), "made.yaml", ()).tree) | changes
    if folder is not None:
        (folder / "model").mkdir(exist_ok=True)
        (folder / "model" / "config.json").write_text(json.dumps(ARCHITECTURE), encoding="utf-8")
        tree["base_model"] = str(folder / "model")
    again = framework.parse(json.dumps(tree).encode(), "made.yaml", ())
    run = read_document(framework.table(TARGET[1]), again, Context(None, 1))
    return Config(plain(again.tree), run, framework, TARGET[1], "made.yaml")


ARCHITECTURE = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 256,
    "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 2048, "head_dim": 16,
    "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "tie_word_embeddings": False,
}  # fmt: skip


def estimated(config: Config, probes: dict[str, Probe], **options: Any) -> Estimate:
    return memory_level.estimate(config, probes[config.framework.name], Options(**options))


def traced(config: Config, probes: dict[str, Probe], layers: int | None = 2) -> dict[str, Any]:
    """One trace of a config in which rows have 128 tokens."""
    answer = probes[config.framework.name].request(
        "memory", config=config.tree, recipe=config.run.recipe, layers=[layers], rows=2, length=128, packed=False,
        architecture=ARCHITECTURE,
    )  # fmt: skip
    assert answer["ok"], answer
    found: dict[str, Any] = answer["traces"][0]
    return found


def most(found: Mapping[str, Any], part: str) -> int:
    return int(max(split[part] for split in found["peaks"].values()))


@pytest.fixture(scope="session")
def plain_target(probes: dict[str, Probe]) -> dict[str, Any]:
    return traced(target(), probes)


@pytest.mark.parametrize("side", ["source", "target"])
def test_extrapolated_layers_are_as_traced_layers(side: str, probes: dict[str, Probe], tmp_path: Path) -> None:
    found = estimated(source(TINY) if side == "source" else target(folder=tmp_path), probes, all_layers=True)
    assert found.layers == 6
    assert found.total == pytest.approx(found.whole, rel=1e-6)


def test_torchtune_s_model_on_fake_and_on_real_tensors() -> None:
    request = {"config": source((*TINY, "enable_activation_checkpointing=true")).tree, "packed": False, "rows": 2,
               "recipe": "lora_finetune_single_device", "length": 128, "layers": [None]}  # fmt: skip
    probe = VERIFY.parent / "frameworks" / "torchtune" / "probe_memory.py"
    found = run_cases(interpreter(*SOURCE), str(probe), json.dumps(request))
    assert found["fake"] == found["real"]
    assert found["fake"]["trained"] == 6 * 8 * (2 * 64 + 64 + 32 + 2 * 64)


def test_a_conversion_of_a_small_model_holds_what_the_source_holds(
    probes: dict[str, Probe], plain_target: dict[str, Any]
) -> None:
    one = traced(source(TINY), probes)
    assert one["trained"] == plain_target["trained"]
    assert one["states"] == pytest.approx(plain_target["states"], abs=COUNTERS)
    positions = 2 * 2048 * 8 * 2 * 4  # torchtune's layers keep a table each
    assert one["weights"] - plain_target["weights"] == pytest.approx(positions, abs=1000)


def test_4_bit_weights_take_half_a_byte_and_their_scales(
    probes: dict[str, Probe], plain_target: dict[str, Any]
) -> None:
    stored = traced(target(adapter="qlora", load_in_4bit=True), probes)
    linear = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 256)
    saved = linear * (4 - 0.5 - 1 / 64 - 4 / (64 * 256))
    assert plain_target["weights"] - stored["weights"] == pytest.approx(saved, rel=0.01)


def test_checkpointing_changes_the_target_s_activations(probes: dict[str, Probe], plain_target: dict[str, Any]) -> None:
    lighter = traced(target(gradient_checkpointing=True), probes)
    assert most(lighter, "activations") < most(plain_target, "activations") / 1.5


def test_a_fused_loss_keeps_no_logits(probes: dict[str, Probe], plain_target: dict[str, Any]) -> None:
    plugin = "axolotl.integrations.liger.LigerPlugin"
    fused = traced(target(plugins=[plugin], liger_fused_linear_cross_entropy=True), probes)
    assert most(plain_target, "logits") >= 2 * 2 * 128 * 2048 * 4
    assert most(fused, "logits") < most(plain_target, "logits") / 4
    assert fused["trained"] == plain_target["trained"]


def test_a_compiled_loss_in_chunks_keeps_logits_once(probes: dict[str, Probe], plain_target: dict[str, Any]) -> None:
    plainly, compiled = (traced(source((*TINY, f"compile={word}")), probes) for word in ("false", "true"))
    once = 2 * 128 * 2048 * 4
    assert once <= most(compiled, "logits") < 1.5 * once < most(plainly, "logits")
    chunked = traced(target(chunked_cross_entropy=True), probes)
    assert once <= most(chunked, "logits") < most(plain_target, "logits")


def test_half_precision_halves_the_target_s_weights(probes: dict[str, Probe], plain_target: dict[str, Any]) -> None:
    half = traced(target(bf16=True), probes)
    assert half["weights"] == pytest.approx(plain_target["weights"] / 2, rel=0.05)


def test_a_model_that_is_not_known_gives_no_figure(probes: dict[str, Probe]) -> None:
    config = target(base_model="nobody/nothing")
    found = memory_level.check([config], Options(), probes)
    assert found.outcome is Outcome.NOT_RUN
    assert "config.json" in found.details[0]


def test_a_recipe_that_is_not_traced_is_named(probes: dict[str, Probe]) -> None:
    found = memory_level.check([source(recipe="lora_dpo_single_device")], Options(), probes)
    assert found.outcome is Outcome.NOT_RUN
    assert "lora_dpo_single_device" in found.details[0]


def test_the_command_prints_a_figure(
    probes: dict[str, Probe], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    report = tmp_path / "found.json"
    status = main(["verify", str(BASE), "--level", "memory", "--recipe", "lora_finetune_single_device", "--report",
                   str(report), "--row-length", "64"])  # fmt: skip
    assert status == 0
    assert "GiB on each device at its peak" in capsys.readouterr().err
    told = json.loads(report.read_text(encoding="utf-8"))["levels"][0]
    assert told["data"]["source"]["tokens"] == 64
    assert told["data"]["source"]["bytes"] == sum(
        size for part, size in told["data"]["source"]["split"].items() if part != "paged"
    )
