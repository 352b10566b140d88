"""`ftmigrate server`, asked by a real client over standard input and output."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient

from ftmigrate.cli import main
from ftmigrate.document.model import Position
from ftmigrate.linter.engine import Job
from ftmigrate.server import outline
from ftmigrate.server.positions import Point, Positions
from ftmigrate.server.session import File
from tests.conftest import FIXTURES, ROOT, torchtune_configs
from tests.test_imports import loaded, run

AXOLOTL = (FIXTURES / "lint" / "axolotl.yaml").read_text(encoding="utf-8")
TORCHTUNE = (FIXTURES / "lint" / "torchtune.yaml").read_text(encoding="utf-8")
PATIENCE = 120  # seconds until a test gives up


class Editor:
    """A client in its own thread, with what the server published."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.published: dict[str, list[lsp.PublishDiagnosticsParams]] = {}
        self.messages: list[str] = []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.client: LanguageClient = self.wait(self._start(arguments))

    def wait(self, task: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(task, self.loop).result(PATIENCE)

    async def _start(self, arguments: tuple[str, ...]) -> LanguageClient:
        self.changed = asyncio.Condition()
        client = LanguageClient("editor", "1")

        async def published(params: lsp.PublishDiagnosticsParams) -> None:
            async with self.changed:
                self.published.setdefault(params.uri, []).append(params)
                self.changed.notify_all()

        async def shown(params: lsp.ShowMessageParams) -> None:
            async with self.changed:
                self.messages.append(params.message)
                self.changed.notify_all()

        client.feature(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)(published)
        client.feature(lsp.WINDOW_SHOW_MESSAGE)(shown)
        command = [sys.executable, "-m", "ftmigrate", "server", "--stdio", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        await client.start_io(*command, env=environment, cwd=self.folder)
        general = lsp.GeneralClientCapabilities(position_encodings=[lsp.PositionEncodingKind.Utf16])
        started = await client.initialize_async(
            lsp.InitializeParams(
                capabilities=lsp.ClientCapabilities(general=general),
                process_id=os.getpid(),
                root_uri=self.folder.as_uri(),
            )
        )
        self.capabilities = started.capabilities
        client.initialized(lsp.InitializedParams())
        return client

    def stop(self) -> int:
        async def ending() -> int:
            await self.client.shutdown_async(None)
            self.client.exit(None)
            assert self.client._server is not None
            status = await self.client._server.wait()
            await self.client.stop()  # type: ignore[no-untyped-call]
            return status

        status: int = self.wait(ending())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        return status

    # --- files --------------------------------------------------------------------------------------------------

    def open(self, name: str, text: str) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        uri = path.as_uri()
        item = lsp.TextDocumentItem(uri, "yaml", 1, text)
        self.send(self.client.text_document_did_open, lsp.DidOpenTextDocumentParams(item))
        return uri

    def change(self, uri: str, text: str, version: int) -> None:
        where = lsp.VersionedTextDocumentIdentifier(version, uri)
        changes = [lsp.TextDocumentContentChangeWholeDocument(text)]
        self.send(self.client.text_document_did_change, lsp.DidChangeTextDocumentParams(where, changes))

    def save(self, uri: str) -> None:
        where = lsp.TextDocumentIdentifier(uri)
        self.send(self.client.text_document_did_save, lsp.DidSaveTextDocumentParams(where))

    def close(self, uri: str) -> None:
        where = lsp.TextDocumentIdentifier(uri)
        self.send(self.client.text_document_did_close, lsp.DidCloseTextDocumentParams(where))

    def send(self, notify: Any, params: Any) -> None:
        async def sending() -> None:
            notify(params)

        self.wait(sending())

    # --- answers ------------------------------------------------------------------------------------------------

    def diagnostics(self, uri: str, version: int | None = 1, count: int = 1) -> list[lsp.Diagnostic]:
        """The diagnostics published for a version, the `count`th time."""

        async def waiting() -> list[lsp.Diagnostic]:
            async with self.changed:
                while True:
                    found = [one for one in self.published.get(uri, ()) if one.version == version]
                    if len(found) >= count:
                        return list(found[count - 1].diagnostics)
                    await self.changed.wait()

        result: list[lsp.Diagnostic] = self.wait(waiting())
        return result

    def hover(self, uri: str, line: int, character: int) -> str:
        params = lsp.HoverParams(lsp.TextDocumentIdentifier(uri), lsp.Position(line, character))
        found = self.wait(self.client.text_document_hover_async(params))
        return found.contents.value if found is not None else ""

    def complete(self, uri: str, line: int, character: int) -> dict[str, lsp.CompletionItem]:
        params = lsp.CompletionParams(lsp.TextDocumentIdentifier(uri), lsp.Position(line, character))
        found = self.wait(self.client.text_document_completion_async(params))
        return {item.label: item for item in found.items} if found is not None else {}

    def actions(self, uri: str, line: int, only: list[str] | None = None) -> list[lsp.CodeAction]:
        at = lsp.Range(lsp.Position(line, 0), lsp.Position(line, 0))
        context = lsp.CodeActionContext([], only=only)
        params = lsp.CodeActionParams(lsp.TextDocumentIdentifier(uri), at, context)
        return list(self.wait(self.client.text_document_code_action_async(params)))


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    started = Editor(tmp_path_factory.mktemp("workspace"))
    yield started
    assert started.messages == []
    assert started.stop() == 0


def place(text: str, mark: str) -> tuple[int, int]:
    """The line and the character, from 0, at which a mark stands."""
    before = text[: text.index(mark)]
    return before.count("\n"), len(before) - before.rfind("\n") - 1


def typed(text: str) -> tuple[str, int, int]:
    """A text without the `|` that shows where the cursor is."""
    line, character = place(text, "|")
    return text.replace("|", "", 1), line, character


def applied(text: str, action: lsp.CodeAction | lsp.CompletionItem) -> str:
    """The text after an edit, lines and characters counted as an editor does it."""
    if isinstance(action, lsp.CompletionItem):
        assert isinstance(action.text_edit, lsp.TextEdit)
        found = [action.text_edit]
    else:
        assert action.edit is not None
        assert action.edit.changes is not None
        ((_, listed),) = action.edit.changes.items()
        found = list(listed)
    units = text.encode("utf-16-le")
    starts = [0]
    for index in range(0, len(units), 2):
        if units[index : index + 2] == b"\n\0":
            starts.append(index + 2)
    for edit in sorted(found, key=lambda one: (one.range.start.line, one.range.start.character), reverse=True):
        first, last = (starts[at.line] + 2 * at.character for at in (edit.range.start, edit.range.end))
        units = units[:first] + edit.new_text.encode("utf-16-le") + units[last:]
    return units.decode("utf-16-le")


# --- diagnostics ------------------------------------------------------------------------------------------------


def test_a_good_config_has_none(editor: Editor) -> None:
    assert editor.diagnostics(editor.open("good.yaml", AXOLOTL)) == []


def test_what_is_wrong_is_shown_where_it_stands(editor: Editor) -> None:
    text = AXOLOTL.replace("lora_r:", "lora_rr:")
    (one,) = editor.diagnostics(editor.open("wrong.yaml", text))
    line, _ = place(text, "lora_rr")
    assert (one.code, one.source, one.severity) == ("FT010", "ftmigrate", lsp.DiagnosticSeverity.Warning)
    assert one.range == lsp.Range(lsp.Position(line, 0), lsp.Position(line, 7))
    assert "did you mean `lora_r`?" in one.message


def test_diagnostics_follow_the_text(editor: Editor) -> None:
    uri = editor.open("typing.yaml", AXOLOTL)
    assert editor.diagnostics(uri) == []
    for version, epochs in enumerate(("-", "", "0"), 2):
        editor.change(uri, AXOLOTL.replace("num_epochs: 3", f"num_epochs: {epochs}"), version)
    assert [one.code for one in editor.diagnostics(uri, 4)] == ["FT105"]
    editor.change(uri, AXOLOTL, 5)
    assert editor.diagnostics(uri, 5) == []
    versions = [one.version for one in editor.published[uri]]
    assert versions == sorted(versions, key=lambda one: one or 0)


def test_half_typed_text_gives_the_syntax_error_alone(editor: Editor) -> None:
    uri = editor.open("half.yaml", AXOLOTL.replace("num_epochs: 3", "num_epochs: 0\nopti"))
    (one,) = editor.diagnostics(uri)
    assert (one.code, one.severity) == ("FT001", lsp.DiagnosticSeverity.Error)


def test_other_yaml_is_left_alone(editor: Editor) -> None:
    for name, text in {
        "compose.yaml": "services:\n  a: {image: x}\n",
        "chart.yaml": "{{ if x }}\na: b\n",
        "empty.yaml": "",
        "half.yml": "services: [\n",
    }.items():
        uri = editor.open(name, text)
        assert editor.diagnostics(uri) == []
        assert editor.hover(uri, 0, 1) == ""
        assert editor.complete(uri, 0, 0) == {}
        assert editor.actions(uri, 0) == []


def test_saving_looks_anew_at_what_stands_beside(editor: Editor) -> None:
    uri = editor.open("pinned/a.yaml", AXOLOTL + "sample_packing_sequentially: true\n")
    assert editor.diagnostics(uri) == []
    (editor.folder / "pinned" / "requirements.txt").write_text("axolotl==0.9.2\n", encoding="utf-8")
    editor.save(uri)
    assert "FT013" in [one.code for one in editor.diagnostics(uri, 1, count=2)]
    (editor.folder / "pinned" / "pyproject.toml").write_text('[tool.ftmigrate]\nignore = ["FT"]\n', encoding="utf-8")
    editor.save(uri)
    assert editor.diagnostics(uri, 1, count=3) == []


def test_closing_takes_them_away(editor: Editor) -> None:
    uri = editor.open("closed.yaml", AXOLOTL.replace("num_epochs: 3", "num_epochs: 0"))
    assert len(editor.diagnostics(uri)) == 1
    editor.close(uri)
    assert editor.diagnostics(uri, None) == []


def test_characters_count_as_the_editor_counts_them(editor: Editor) -> None:
    text = AXOLOTL.replace("num_epochs: 3", '"num_epochs": 0  # 🚀 \u2028') + "\U0001f680key: 1\nweight_decai: 1\n"
    found = {one.code: one for one in editor.diagnostics(editor.open("wide.yaml", text)) if "weight" in one.message}
    assert found["FT010"].range.start == lsp.Position(*place(text, "weight_decai"))


def test_the_users_files_are_never_imported(editor: Editor) -> None:
    trap = "import pathlib; pathlib.Path(__file__).with_name('imported').touch()\n"
    for name in ("mine.py", "torchtune.py", "axolotl.py", "transformers.py"):
        (editor.folder / name).write_text(trap, encoding="utf-8")
    text = TORCHTUNE.replace("torch.optim.AdamW", "mine.optimizer") + "collate_fn: mine.collate\n"
    uri = editor.open("custom.yaml", text)
    editor.diagnostics(uri)
    line, character = place(text, "mine.optimizer")
    assert "mine.optimizer" in text
    editor.hover(uri, line, character + 2)
    editor.complete(uri, line, character)
    assert not (editor.folder / "imported").exists()


# --- repairs ----------------------------------------------------------------------------------------------------


def test_repairs_are_offered_and_do_what_lint_does(editor: Editor) -> None:
    text = AXOLOTL.replace("lora_r:", "lora_rr:") + "lr_scheduler_kwargs:\n  eta_min: 7e-7  # é\n"
    uri = editor.open("fix.yaml", text)
    editor.diagnostics(uri)
    line, _ = place(text, "eta_min")
    safe = next(one for one in editor.actions(uri, line) if one.title.startswith("ftmigrate: FT030"))
    assert safe.is_preferred
    assert safe.diagnostics is not None
    assert [one.code for one in safe.diagnostics] == ["FT030"]
    assert "  eta_min: 7.0e-7  # é" in applied(text, safe)
    unsafe = next(one for one in editor.actions(uri, place(text, "lora_rr")[0]) if "rename" in one.title)
    assert not unsafe.is_preferred
    assert unsafe.title == "ftmigrate: FT010: rename it to lora_r (may change the run: look at what it did)"
    assert applied(text, unsafe) == text.replace("lora_rr", "lora_r")


def test_everything_safe_at_once(editor: Editor) -> None:
    text = AXOLOTL.replace("lora_r:", "lora_rr:") + "lr_scheduler_kwargs:\n  eta_min: 7e-7  # é\n"
    uri = editor.open("all.yaml", text)
    (one,) = editor.actions(uri, 0, only=["source.fixAll"])
    assert one.kind == "source.fixAll.ftmigrate"
    assert applied(text, one) == text.replace("7e-7", "7.0e-7")
    assert editor.actions(uri, 0, only=["refactor"]) == []


def test_a_finding_is_hidden_by_a_comment(editor: Editor) -> None:
    text = AXOLOTL.replace("lora_r:", "lora_rr:")
    uri = editor.open("hide.yaml", text)
    hide = next(one for one in editor.actions(uri, place(text, "lora_rr")[0]) if "hide" in one.title)
    assert "lora_rr: 16  # ftmigrate: ignore[FT010]\n" in applied(text, hide)
    editor.change(uri, applied(text, hide), 2)
    assert editor.diagnostics(uri, 2) == []


def test_repairs_of_text_that_was_just_typed(editor: Editor) -> None:
    """The request comes before the lint of the new text does."""
    uri = editor.open("fresh.yaml", AXOLOTL)
    text = AXOLOTL.replace("lora_r:", "\n\nlora_rr:")
    editor.change(uri, text, 2)
    assert any("rename it to lora_r " in one.title for one in editor.actions(uri, place(text, "lora_rr")[0]))


# --- hover ------------------------------------------------------------------------------------------------------


def test_hover_tells_the_key_and_what_the_run_gets(editor: Editor) -> None:
    uri = editor.open("hover.yaml", AXOLOTL)
    line, _ = place(AXOLOTL, "lora_r:")
    found = editor.hover(uri, line, 2)
    assert found.startswith("**lora_r** in Axolotl 0.21.0\n\n`int | None = null`")
    assert "- adapter.rank = **16**: " in found
    assert "(written here)" in found
    line, character = place(AXOLOTL, "0.05\nbf16")
    ratio = editor.hover(uri, line, character)
    assert "**warmup_ratio**" in ratio
    assert "schedule.warmup_steps" in ratio


def test_hover_tells_what_comes_from_elsewhere(editor: Editor) -> None:
    uri = editor.open("hover2.yaml", TORCHTUNE)
    line, _ = place(TORCHTUNE, "output_dir: ${output_dir}")
    found = editor.hover(uri, line, 20)
    assert "`${output_dir}` is `runs/support` here." in found
    assert "saving.output_dir = **runs/support**" in found
    line, _ = place(TORCHTUNE, "max_seq_len")
    assert "sequence.max_length = **2047 tokens**" in editor.hover(uri, line, 4)


def test_hover_of_a_component_tells_what_is_left_to_its_defaults(editor: Editor) -> None:
    uri = editor.open("hover3.yaml", TORCHTUNE)
    line, character = place(TORCHTUNE, "torch.optim.AdamW")
    found = editor.hover(uri, line, character + 3)
    assert "optimizer.name = **adamw**" in found
    assert "`weight_decay: float = 0.01`" in found
    assert "`fused" not in found.partition("Not written here")[2]


def test_hover_of_a_section_and_of_what_has_no_effect(editor: Editor) -> None:
    text = AXOLOTL.replace("adapter: lora\n", "")
    uri = editor.open("hover4.yaml", text)
    line, _ = place(text, "datasets:")
    assert "data.sources[0].location = **data/train.jsonl**" in editor.hover(uri, line, 1)
    assert "has no effect here" in editor.hover(uri, place(text, "lora_alpha")[0], 1)
    assert editor.hover(uri, len(text.split("\n")), 0) == ""


def test_hover_in_half_typed_text_knows_the_schema(editor: Editor) -> None:
    text = TORCHTUNE.replace("epochs: 3", "epochs: 3\nlog_ev")
    uri = editor.open("hover5.yaml", text)
    found = editor.hover(uri, place(text, "epochs:")[0], 2)
    assert found.startswith("**epochs** in torchtune")
    assert "passes over the data" in found
    assert "What this run gets" not in found


# --- completion -------------------------------------------------------------------------------------------------


def ask(editor: Editor, name: str, text: str) -> tuple[str, dict[str, lsp.CompletionItem]]:
    plain, line, character = typed(text)
    return plain, editor.complete(editor.open(name, plain), line, character)


def test_keys_of_the_top_level(editor: Editor) -> None:
    text, found = ask(editor, "c1.yaml", AXOLOTL + "lora_|")
    assert "lora_dropout" not in found  # it is there already
    item = found["lora_target_modules"]
    assert applied(text, item).endswith("\nlora_target_modules: ")
    assert item.kind == lsp.CompletionItemKind.Property
    assert "str" in (item.detail or "")
    assert isinstance(item.documentation, lsp.MarkupContent)
    assert "adapter.target_modules" in item.documentation.value
    assert "excess_token_handling" not in found
    assert not [key for key, one in found.items() if one.label.startswith("_")]


def test_keys_of_a_recipe(editor: Editor) -> None:
    _, found = ask(editor, "c2.yaml", TORCHTUNE + "|")
    assert {"enable_activation_offloading", "profiler", "low_cpu_ram"} <= set(found)
    assert "micro_batch_size" not in found
    assert "epochs" not in found


def test_keys_of_the_items_of_a_list(editor: Editor) -> None:
    text, found = ask(editor, "c3.yaml", AXOLOTL.replace("    type: alpaca", "    type: alpaca\n    fie|"))
    assert {"field_messages", "split", "shards"} <= set(found)
    assert not {"path", "type", "lora_r"} & set(found)
    assert "\n    field_messages: \n" in applied(text, found["field_messages"])
    _, found = ask(editor, "c4.yaml", AXOLOTL.replace("    type: alpaca", "    type: alpaca\n  - |"))
    assert {"path", "type"} <= set(found)


def test_keys_of_a_nested_mapping(editor: Editor) -> None:
    text, found = ask(editor, "c5.yaml", AXOLOTL + "fsdp_config:\n  |")
    assert "reshard_after_forward" in found
    assert "base_model" not in found
    text, found = ask(editor, "c6.yaml", AXOLOTL + "fsdp_con|")
    assert applied(text, found["fsdp_config"]).endswith("fsdp_config:\n  ")


def test_parameters_of_the_component_that_is_named(editor: Editor) -> None:
    _, found = ask(editor, "c7.yaml", TORCHTUNE.replace("  fused: true", "  we|"))
    assert {"weight_decay", "betas", "eps", "fused"} <= set(found)
    assert not {"params", "lr", "_component_"} & set(found)
    _, found = ask(editor, "c8.yaml", TORCHTUNE.replace("torch.optim.AdamW", "torch.optim.SGD").replace("fused", "mo|"))
    assert "momentum" in found
    assert "betas" not in found
    _, found = ask(editor, "c9.yaml", TORCHTUNE.replace("  _component_: torch.optim.AdamW\n  fused: true", "  |"))
    assert list(found) == ["_component_"]


def test_names_of_components(editor: Editor) -> None:
    text, found = ask(editor, "c10.yaml", TORCHTUNE.replace("torch.optim.AdamW", "torch.optim.|Adam"))
    assert "torch.optim.SGD" in found
    assert not [name for name in found if "dataset" in name]
    assert applied(text, found["torch.optim.SGD"]) == TORCHTUNE.replace("torch.optim.AdamW", "torch.optim.SGD")
    _, found = ask(editor, "c11.yaml", TORCHTUNE.replace("torchtune.datasets.chat_dataset", "|"))
    assert "torchtune.datasets.alpaca_dataset" in found


def test_values_of_a_key(editor: Editor) -> None:
    text, found = ask(editor, "c12.yaml", AXOLOTL + "rl: |")
    assert {"dpo", "grpo", "kto"} <= set(found)
    assert applied(text, found["dpo"]).endswith("rl: dpo")
    _, found = ask(editor, "c13.yaml", TORCHTUNE.replace("dtype: bf16", "dtype: b|"))
    assert set(found) == {"bf16", "fp32", "fp64"}
    _, found = ask(editor, "c14.yaml", TORCHTUNE.replace("compile: false", "compile: |"))
    assert set(found) == {"true", "false"}
    _, found = ask(editor, "c15.yaml", AXOLOTL + "curriculum_sampling: |")
    assert {"true", "false", "null"} == set(found)


def test_items_of_a_list_of_values(editor: Editor) -> None:
    _, found = ask(editor, "c16.yaml", TORCHTUNE.replace("[q_proj, v_proj, output_proj]", "[q_proj, |]"))
    assert {"q_proj", "k_proj", "v_proj", "output_proj"} == set(found)
    text = TORCHTUNE.replace("[q_proj, v_proj, output_proj]", "\n    - q_proj\n    - |")
    assert {"q_proj", "k_proj", "v_proj", "output_proj"} == set(ask(editor, "c17.yaml", text)[1])


@pytest.mark.parametrize(
    "change",
    [
        AXOLOTL + "# lo|",
        AXOLOTL + "lora_r: 16 # |",
        AXOLOTL + "chat_template_jinja: |-\n  {% for x in y %}\n  lo\0",
        AXOLOTL + "lora_target_parameters: {a|",
        AXOLOTL.replace("seed: 42", "seed: 42\n    lo|"),
    ],
    ids=["comment", "comment behind a value", "block text", "flow mapping", "below a value"],
)
def test_where_nothing_is_proposed(change: str, editor: Editor) -> None:
    text = change if "\0" not in change else change.replace("|", "%", 1).replace("\0", "|")
    plain, line, character = typed(text)
    plain = plain.replace("%-", "|-", 1)
    assert editor.complete(editor.open("nothing.yaml", plain), line, character) == {}
    assert editor.diagnostics(editor.folder.joinpath("nothing.yaml").as_uri()) is not None


# --- the command ------------------------------------------------------------------------------------------------


def test_what_is_offered(editor: Editor) -> None:
    found = editor.capabilities
    assert found.hover_provider
    assert found.completion_provider is not None
    assert isinstance(found.code_action_provider, lsp.CodeActionOptions)
    assert found.code_action_provider.code_action_kinds is not None
    assert "source.fixAll.ftmigrate" in found.code_action_provider.code_action_kinds


def test_told_framework_and_a_project_that_is_not_understood(tmp_path: Path) -> None:
    started = Editor(tmp_path, "--framework", "axolotl@0.9.2")
    uri = started.open("a/x.yaml", AXOLOTL + "sample_packing_sequentially: true\n")
    assert "FT013" in [one.code for one in started.diagnostics(uri)]
    assert started.diagnostics(started.open("other.yaml", "services: {}\n")) == []
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.ftmigrate]\nselekt = []\n", encoding="utf-8")
    started.save(uri)
    assert started.diagnostics(uri, 1, count=2) == []
    assert started.hover(uri, 0, 1) == ""
    assert started.complete(uri, 0, 0) == {}
    assert started.stop() == 0
    (message,) = started.messages
    assert "[tool.ftmigrate] has no key selekt" in message


def test_without_pygls_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['pygls'] = None\nfrom ftmigrate.cli import main; raise SystemExit(main(['server']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert "pip install 'ftmigrate[server]'" in done.stderr


def test_a_wrong_option_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["server", "--framework", "axolotl@9"]) == 2
    assert main(["server", "--rows", "0"]) == 2
    assert "--rows is a number above 0" in capsys.readouterr().err


def test_lint_does_not_load_it() -> None:
    found = run("lint", str(FIXTURES / "lint" / "axolotl.yaml"))
    assert not {"pygls", "lsprotocol", "asyncio"} & found
    assert not [name for name in found if name.startswith("ftmigrate.server")]
    assert "torch" not in loaded("import ftmigrate.server.protocol")


# --- places in a text -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [AXOLOTL, TORCHTUNE, "a:\n- b: 1\n  c:\n  - x\n  -   y\n- d: 2\n"])
def test_the_outline_is_what_yaml_says(text: str) -> None:
    import yaml

    def paths(value: object, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
        found = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in found:
            if isinstance(key, str) or not isinstance(inner, dict):
                yield (*path, key)
            yield from paths(inner, (*path, key))

    whole = yaml.safe_load(text)
    flow = {("model", "lora_attn_modules"), ("checkpointer", "checkpoint_files")}
    expected = [path for path in paths(whole) if path[:-1] not in flow]
    assert [entry.path for entry in outline.entries(text)] == expected


def test_the_outline_of_published_configs() -> None:
    """Every key of block style that the document has, at its line; flow style is not looked into."""
    from ftmigrate.frameworks import registry

    found = torchtune_configs()
    if not found:
        pytest.skip("no torchtune configs (FTMIGRATE_TORCHTUNE_CONFIGS)")
    for path in found:
        document = registry.get("torchtune").parse(path.read_bytes(), path.name, ())
        keys = {(entry.path, entry.line) for entry in outline.entries(document.text)}
        for leaf in document.leaves.values():
            key = tuple(part for part in leaf.path)
            if (
                leaf.key is not None
                and isinstance(key[-1], str)
                and "{" not in document.text.split("\n")[leaf.key.start.line - 1].replace("${", "")
            ):
                assert (key, leaf.key.start.line) in keys, (path.name, key)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_places_there_and_back(encoding: str) -> None:
    source = "a: \U0001f680b\r\nc: é\u2028d\re: \x85f\n\n"
    positions = Positions(source, encoding)
    lines = positions.lines
    for offset in range(len(source) + 1):
        if source[offset - 1 : offset + 1] == "\r\n":
            continue
        ours = lines.position(offset)
        point = positions.point(*ours)
        assert positions.position(point) == ours, (offset, point)
    assert positions.position(Point(99, 99)) == lines.position(len(source))
    assert Positions("\ufeffa: b", encoding).point(1, 1).character == {"utf-8": 3, "utf-16": 1, "utf-32": 1}[encoding]


@pytest.mark.parametrize("text", [AXOLOTL, TORCHTUNE], ids=["axolotl", "torchtune"])
def test_no_place_of_a_text_that_is_cut_off_raises(text: str) -> None:
    """What is typed line by line: at the end of each beginning every question is answered."""
    before: File | None = None
    for end in range(0, len(text), 23):
        file = File("<unsaved>", text[:end], Job(isolated=True), before=before)
        at = file.positions.position(file.positions.end)
        file.complete(at)
        file.hover(at)
        file.hover(Position(at.line, max(at.column - 1, 1)))
        file.actions(1, at.line)
        assert len(file.diagnostics) <= 1 or file.subject is not None
        before = file
    assert before is not None
    assert before.nearest is not None
