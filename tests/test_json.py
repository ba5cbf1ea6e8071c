"""Strict JSON: what every writer leaves is read by a parser that knows no NaN, and our readers take it back."""

import ast
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from torchrrm import bench, files
from torchrrm.bench import Measure, Results, Row
from torchrrm.bench.columns import write_columns
from torchrrm.files import differs, json_values, parse_header, parse_json, read_json, to_json
from torchrrm.learning.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from torchrrm.policies import SliceGNN
from torchrrm.policies.weights import load_weights, read_tensors, save_weights, write_tensors
from torchrrm.recipes.exhibits import Exhibit, write_exhibits

NON_FINITE = (math.nan, math.inf, -math.inf)
VALUES = {"numbers": list(NON_FINITE), "nested": {"a": (1.5, [math.inf])}, "text": "NaN of a name"}


def strict(text: str) -> Any:
    """The value of a JSON text, by a parser that refuses bare NaN and Infinity."""

    def refuse(token: str) -> None:
        raise AssertionError(f"bare {token}")

    return json.loads(text, parse_constant=refuse)


def results(number: float) -> Results:
    row = Row(
        problem="a",
        setting="b",
        allocator="c",
        kind="solver",
        objective=number,
        objective_ci95=(number, number),
        bound=number,
        bound_kind="certified",
        optimality=number,
        optimality_ci95=None,
        violation_max=number,
        violation_rate=number,
        served_fraction=number,
        p50_us=number,
        p99_us=number,
        instances=1,
        infeasible=0,
        measures={"m": Measure(number, (number, number))},
        utility_quantiles=(number,),
    )
    return Results("command", 0, [row], {"setting": number}, commit="a", threads=1)


def page(path: Path, number: float) -> list[str]:
    display = bench.Display(objective="rate", unit="bit/s/Hz")
    bench.html_report(path, results(number), title="a", plates=[], display=display)
    found = re.search(r"<script[^>]*application/json[^>]*>(.*?)</script>", path.read_text("utf-8"), re.DOTALL)
    assert found
    return [found[1]]


def columns(path: Path, number: float) -> list[str]:
    write_columns(path, {"power_w": np.array([number])}, {"limit_w": number})
    if path.suffix == ".npz":
        with np.load(path) as archive:
            return [str(archive["about"])]
    return [path.read_text("utf-8")]


def exhibits(path: Path, number: float) -> list[str]:
    data = {"front": torch.tensor([number], dtype=torch.float64), "step": number}
    write_exhibits(path, "a", "b", [Exhibit("fig", "c", "d", None, ["e"], [["f"]], data)])
    return [(path / "exhibits.json").read_text("utf-8")]


def header(path: Path, number: float) -> list[str]:
    write_tensors(path, {}, {"number": number})
    return _header_text(path)


def weights(path: Path, number: float) -> list[str]:
    save_weights(path, SliceGNN("data-rate", "raw"), {"rate": number})
    assert differs(load_weights(path).provenance["rate"], number) is False
    return _header_text(path)


def checkpoint(path: Path, number: float) -> list[str]:
    run = Checkpoint({"settings": {"clip": number}}, 3, {"parameters": {"a": torch.ones(2)}, "losses": {}})
    losses = {"losses": {"loss": torch.zeros(1, dtype=torch.float64)}}
    save_checkpoint(path, Checkpoint(run.identity, 3, {**run.groups, **losses}))
    assert load_checkpoint(path, run).step == 3  # a NaN of the settings is the same setting
    other = Checkpoint({"settings": {"clip": 0.5}}, 3, run.groups)
    with pytest.raises(CheckpointError, match=r"must be of clip 0\.5"):
        load_checkpoint(path, other)
    return _header_text(path)


def exported(path: Path, number: float) -> list[str]:
    from torchrrm.deploy.header import KEY, read_header

    told = {name: {} for name in ("arguments", "problem", "deployment", "inputs", "outputs", "provenance")}
    text = to_json(
        {"schema": 1, "policy": "a", "torchrrm": "0", **told, "problem": {"limit": number}}, header=True
    )
    assert not differs(read_header({KEY: text}, path)["problem"]["limit"], number)
    return [text]


def _header_text(path: Path) -> list[str]:
    import safetensors

    with safetensors.safe_open(path, framework="pt") as file:
        return [file.metadata()["torchrrm"]]


def run_results(path: Path, number: float) -> list[str]:
    text = results(number).to_json(path)
    again = Results.from_json(path).rows[0]
    assert math.isnan(again.objective)
    assert all(map(math.isnan, again.objective_ci95 or ()))
    assert again.bound is None
    return [text]


WRITERS: dict[str, Callable[[Path, float], list[str]]] = {
    "results.json": run_results,
    "page.html": page,
    "columns.json": columns,
    "columns.npz": columns,
    "exhibits": exhibits,
    "header.safetensors": header,
    "weights.safetensors": weights,
    "checkpoint.safetensors": checkpoint,
    "exported.onnx": exported,
}


@pytest.mark.parametrize("number", NON_FINITE)
@pytest.mark.parametrize("name", WRITERS)
def test_no_writer_leaves_a_bare_token(tmp_path: Path, name: str, number: float) -> None:
    texts = WRITERS[name](tmp_path / name, number)
    assert texts
    for text in texts:
        strict(text)


def test_no_other_code_reads_or_writes_json() -> None:
    folder = Path(files.__file__).parent
    calls = {
        str(path.relative_to(folder))
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Import) and any(name.name == "json" for name in node.names)
    }
    assert calls == {"files.py"}


def test_null_where_others_read() -> None:
    assert strict(to_json({"a": NON_FINITE, "b": [np.float64("nan"), 1]})) == {
        "a": [None] * 3,
        "b": [None, 1],
    }
    assert json_values({1: Path("a"), "b": (1.5, True, None)}) == {"1": "a", "b": [1.5, True, None]}


def test_texts_in_headers_that_are_read_back() -> None:
    text = to_json(VALUES, header=True)
    assert strict(text)["numbers"] == ["NaN", "Infinity", "-Infinity"]
    again = parse_header(text, name="a")
    assert math.isnan(again["numbers"][0])
    assert again["numbers"][1:] == [math.inf, -math.inf]
    assert again["nested"] == {"a": [1.5, [math.inf]]}
    assert again["text"] == "NaN of a name"
    assert not differs(again, VALUES)


def test_headers_of_older_files() -> None:
    assert parse_header('{"clip": Infinity, "rate": -Infinity}', name="a") == {
        "clip": math.inf,
        "rate": -math.inf,
    }
    assert math.isnan(parse_header("NaN", name="a"))


def test_a_header_holds_json_values_only(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="header: expected JSON values, got a Tensor"):
        write_tensors(tmp_path / "a", {}, {"a": torch.zeros(1)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity"])
def test_strict_readers_refuse_bare_tokens(token: str) -> None:
    with pytest.raises(ValueError, match=f"^{token} is no JSON number$"):
        parse_json(f'{{"a": [{token}]}}', name="a")
    with pytest.raises(ValueError, match=f"^results: must be JSON, .*{token} is no JSON number"):
        Results.from_json(f'{{"schema": {token}}}')


@pytest.mark.parametrize("text", ["[" * 101 + "]" * 101, "[" * 100_000, '{"a":' * 101 + "1" + "}" * 101])
@pytest.mark.parametrize("parse", [parse_json, parse_header])
def test_nesting_is_bounded(parse: Callable[..., Any], text: str) -> None:
    with pytest.raises(ValueError, match="nested more than 100 levels deep"):
        parse(text, name="a")


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").write_text("[" + "1," * 10_000 + "1]", encoding="utf-8")
    assert len(read_json(tmp_path / "a.json", name="demands")) == 10_001
    monkeypatch.setenv("TORCHRRM_MAX_READ_GB", "0.001")
    message = r"^demands: takes 0\.00112 GB of memory to read, the limit is 0\.001 GB; split the file, or set"
    with pytest.raises(files.MemoryLimitError, match=message):
        read_json(tmp_path / "a.json", name="demands")


def test_weights_of_a_header_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tensors(tmp_path / "a", {}, {"a": "b" * 10_000})
    assert len(read_tensors(tmp_path / "a")) == 2
    monkeypatch.setenv("TORCHRRM_MAX_READ_GB", "0.0005")
    with pytest.raises(ValueError, match=r"path: takes .* GB of memory to read"):
        read_tensors(tmp_path / "a")
