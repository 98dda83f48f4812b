"""Reading recipes: overrides, and the message for each mistake."""

import pytest

from finetune.errors import UserError
from finetune.recipe_io import read_recipe

GOOD = "model: {name: m}\ndata: {train: t.jsonl}\n"


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(GOOD)
    return path


def test_overrides_set_their_keys(recipe):
    read = read_recipe(
        recipe,
        ["lora.rank=4", "data.validation=null", "training.learning_rate=3e-4", "output=x", "lora.targets=[q, v]"],
    )
    assert (read.lora.rank, read.data.validation, read.training.learning_rate) == (4, None, 3e-4)
    assert (read.output, read.lora.targets) == ("x", ["q", "v"])


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("lora.rnak=4", ["lora.rnak", "lora.rank"]),
        ("trainning.epochs=4", ["trainning", "training"]),
        ("lora.rank=many", ["lora.rank", "integer", "'many'"]),
        ("lora.rank=true", ["lora.rank", "integer"]),
        ("lora.rank=0", ["lora.rank", "greater"]),
        ("training.learning_rate=fast", ["training.learning_rate", "number"]),
        ("training.learning_rate=.nan", ["training.learning_rate", "finite"]),
        ("training.precision=fp16", ["training.precision", "bf16"]),
        ("lora.targets=3", ["lora.targets"]),
        ("model.name=null", ["model.name", "string"]),
        ("generation.num_beams=9", ["generation.num_beams", "8"]),
        ("lora=3", ["lora"]),
        ("data.train.x=3", ["data.train.x"]),
        ("lora.rank", ["lora.rank", "section.key=value"]),
        ("output=/", ["output", "'/'"]),
        ("output=.", ["output", "name a new folder", "'.'"]),
        ("output=a/..", ["output", "'a/..'"]),
        ("output=a\0b", ["output"]),
    ],
)
def test_mistake_is_one_sentence_that_names_the_key(recipe, override, named):
    with pytest.raises(UserError) as error:
        read_recipe(recipe, [override])
    sentence = str(error.value)
    assert "\n" not in sentence
    assert all(word in sentence for word in named), sentence


@pytest.mark.parametrize("text", ["", "- a\n", "model: {name: m}\n", "model: [", "\ttabs"])
def test_file_that_is_not_a_recipe_is_one_sentence(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_recipe(path)
    assert "\n" not in str(error.value)


def test_4bit_without_an_adapter_is_refused(recipe):
    with pytest.raises(UserError, match=r"^The recipe: model\.load_in_4bit needs an adapter, and lora is null\.$"):
        read_recipe(recipe, ["model.load_in_4bit=true", "lora=null"])


def test_mistake_in_a_nullable_section_names_the_key(recipe):
    assert read_recipe(recipe, ["lora=null"]).lora is None
    with pytest.raises(UserError, match=r"Recipe key lora\.alpha: "):
        read_recipe(recipe, ["lora.alpha=-1"])


def test_missing_recipe_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.yaml"):
        read_recipe(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data.train=own #1.csv", "own #1.csv"),
        ("data.train=#1.csv", "#1.csv"),
        ("data.train='a: b.csv'", "a: b.csv"),
        ("data.train=a: b.csv", "a: b.csv"),
        ("data.train=@own.csv", "@own.csv"),
        ("data.train=2024-01-01", "2024-01-01"),
        ("data.train=[v2]/own.csv", "[v2]/own.csv"),
        ("data.train={a} 'b'.csv", "{a} 'b'.csv"),
        ("data.train='a' b.csv", "'a' b.csv"),
        ("model.prefix=summarize: ", "summarize: "),
        ("model.prefix=", ""),
        ("model.prefix=null", ""),
    ],
)
def test_text_of_an_override_is_taken_as_it_is(recipe, override, expected):
    section, _, key = override.partition("=")[0].partition(".")
    assert getattr(getattr(read_recipe(recipe, [override]), section), key) == expected


def test_key_that_occurs_twice_is_refused(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("model: {name: m}\ndata:\n  train: a.jsonl\n  validation: b.jsonl\n  train: c.jsonl\n")
    with pytest.raises(UserError, match=r"the key train occurs twice.*line 3"):
        read_recipe(path)


def test_brackets_nested_too_deeply_are_refused(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("model: " + "[" * 3000)
    with pytest.raises(UserError, match="is not valid YAML"):
        read_recipe(path)


def test_seed_that_numpy_does_not_take_is_refused(recipe):
    assert read_recipe(recipe, [f"training.seed={2**32 - 1}"]).training.seed == 2**32 - 1
    with pytest.raises(UserError, match=r"training\.seed.*4294967296"):
        read_recipe(recipe, [f"training.seed={2**32}"])


def test_parameters_of_beam_search_are_left_out_without_beams(recipe, capsys):
    settings = ["generation.length_penalty=2.0", "generation.early_stopping=true"]
    greedy = read_recipe(recipe, [*settings, "generation.num_beams=1"]).generation
    assert (greedy.length_penalty, greedy.early_stopping) == (None, None)
    assert "generation.length_penalty and generation.early_stopping left out" in capsys.readouterr().err
    beams = read_recipe(recipe, [*settings, "generation.num_beams=2"]).generation
    assert (beams.length_penalty, beams.early_stopping) == (2.0, True)
    assert not capsys.readouterr().err


def test_paths_are_found_from_another_folder_and_at_home(tmp_path, monkeypatch):
    project, home, elsewhere = (tmp_path / name for name in ("project", "home", "elsewhere"))
    for folder in (project / "recipes", project / "data", project / "models/own", home, elsewhere):
        folder.mkdir(parents=True)
    for path in (project / "data/own.csv", project / "models/own/config.json", home / "more.csv"):
        path.write_text("{}")
    path = project / "recipes/own.yaml"
    path.write_text("model: {name: models/own}\ndata: {train: data/*.csv, validation: ~/more.csv}\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(elsewhere)
    read = read_recipe(path, ["output=~/run"])
    assert read.model.name == str(project / "models/own")
    assert (read.data.train, read.data.validation) == (str(project / "data/*.csv"), str(home / "more.csv"))
    assert read.output == str(home / "run")
    monkeypatch.chdir(project)
    read = read_recipe(path, ["data.validation=gone.csv"])
    assert (read.model.name, read.data.train, read.data.validation) == ("models/own", "data/*.csv", "gone.csv")
    hub = read_recipe(path, ["model.name=google-t5/t5-small", "data.name=a/b", "data.train=train"])
    assert (hub.model.name, hub.data.train) == ("google-t5/t5-small", "train")
