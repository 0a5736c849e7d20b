"""Odd answers arrive as they are, bad ones are refused with one message and leave nothing behind."""

import keyword
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from cookiecutter_answers import problems_of
from tests.cases import ACCEPTED, REFUSED
from tests.engines import Emit, Refused, emit_into
from tests.questions import ASKED, COOKIECUTTER, COPIER
from tests.tree import tree_files, tree_requirements

ENGINES = ("cookiecutter", "copier")


def short(value: object) -> str:
    """Return an ASCII name for a test case."""
    return ascii(value)[:40]


@pytest.mark.parametrize("answers", ACCEPTED, ids=short)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_legal_answer_is_taken_as_it_is(
    engine: str, answers: dict[str, str], emit: Emit, plain_template: Path
) -> None:
    """A legal answer is recorded as it was given: it is neither rendered nor run."""
    recorded = answers_of(emit(engine, template=plain_template, **answers))
    assert {**recorded, **answers} == recorded


@pytest.mark.parametrize(("question", "answer"), REFUSED, ids=short)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_bad_answer_is_refused_and_leaves_nothing(
    engine: str, question: str, answer: str, plain_template: Path, tmp_path: Path
) -> None:
    """A bad answer stops the generation with its name and value, before anything is written anywhere."""
    out = tmp_path / "somewhere" / "out"
    out.mkdir(parents=True)
    (out / "kept.txt").touch()
    with pytest.raises(Refused) as refused:
        emit_into(out, engine, plain_template, {question: answer})
    assert question in str(refused.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["kept.txt", "out", "somewhere"]


@pytest.mark.parametrize(("question", "answer"), [case for case in REFUSED if case[0] != "framework"], ids=short)
def test_both_engines_refuse_with_the_same_words(
    question: str, answer: str, plain_template: Path, tmp_path: Path
) -> None:
    """Cookiecutter's message is Copier's: the value, what is allowed, an example; printable and not too long."""
    messages = []
    for engine in ENGINES:
        with pytest.raises(Refused) as refused:
            emit_into(tmp_path, engine, plain_template, {"project_slug": "orders", question: answer})
        messages.append(str(refused.value))
    assert messages[0] == messages[1]
    shape = rf"Validation error for question '{question}': got \".*\"; allowed: .+; for example: .+"
    assert re.fullmatch(shape, messages[0])
    assert messages[0].isprintable()
    assert len(messages[0]) < 600


def test_every_problem_is_told_at_once(plain_template: Path, tmp_path: Path) -> None:
    """Cookiecutter's user, who cannot correct one answer, is told of all bad ones."""
    with pytest.raises(Refused) as refused:
        emit_into(tmp_path, "cookiecutter", plain_template, {"project_slug": "../x", "author_email": "nobody"})
    assert len(str(refused.value).splitlines()) == 2


def test_cookiecutter_shows_no_traceback(plain_template: Path, tmp_path: Path) -> None:
    """On the command line a bad answer gives the message alone and exit code 1."""
    options = ["--no-input", "-o", str(tmp_path), str(plain_template), "project_slug=../x"]
    command = [sys.executable, "-m", "cookiecutter", *options]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("Validation error for question 'project_slug': got \"../x\"")


@pytest.mark.parametrize("value", [None, {"a": "b"}, True])
def test_cookiecutter_refuses_answers_that_are_no_text(value: object, plain_template: Path, tmp_path: Path) -> None:
    """What only a program can pass, a mapping or nothing at all, is refused like a bad text."""
    with pytest.raises(Refused, match="author_name"):
        emit_into(tmp_path, "cookiecutter", plain_template, {"author_name": value})


def test_an_existing_folder_is_never_touched(plain_template: Path, tmp_path: Path) -> None:
    """Cookiecutter neither overwrites nor deletes a folder that has the project's name, whatever the other answers."""
    existing = tmp_path / "orders"
    existing.mkdir()
    (existing / "mine.txt").write_text("mine")
    for answers in ({}, {"author_email": "bad"}):
        with pytest.raises(Refused):
            emit_into(tmp_path, "cookiecutter", plain_template, {"project_slug": "orders", **answers})
    assert (existing / "mine.txt").read_text() == "mine"


def test_copier_refuses_an_unknown_answer(plain_template: Path, tmp_path: Path) -> None:
    """A name that no question has, such as a misspelt one, stops Copier and is named."""
    with pytest.raises(Refused, match="framwork"):
        emit_into(tmp_path, "copier", plain_template, {"framwork": "fastapi"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Orders API", "orders-api"),
        ("  Bob's   Orders!! ", "bob-s-orders"),
        ("2026-01-01", "service-2026-01-01"),
        ("JSON", "json-service"),
        ("Django", "django-service"),
        ("Örders", "rders"),
        ("x" * 100, "x" * 63),
        ("9" * 100, "service-" + "9" * 55),
    ],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_the_default_slug_comes_from_the_name(engine: str, name: str, slug: str, emit: Emit) -> None:
    """The words of the name, joined by hyphens, made to start with a letter, to be free and to be short."""
    assert answers_of(emit(engine, project_name=name))["project_slug"] == slug


def test_both_engines_ask_the_same_questions() -> None:
    """Names, order, defaults, labels and choices are the same in cookiecutter.json and copier.yml."""
    labels = COOKIECUTTER["__prompts__"]
    assert [name for name in COOKIECUTTER if not name.startswith("_")] == ASKED == list(labels)
    for name in set(ASKED) - {"project_slug", "framework"}:
        assert (COOKIECUTTER[name], labels[name]) == (COPIER[name]["default"], COPIER[name]["help"])
    assert COOKIECUTTER["framework"] == list(COPIER["framework"]["choices"].values())
    assert labels["framework"].pop("__prompt__") == COPIER["framework"]["help"]
    assert {label: value for value, label in labels["framework"].items()} == COPIER["framework"]["choices"]


def test_every_text_question_has_a_rule() -> None:
    """No question takes just any text."""
    assert [name for name in ASKED if not {"validator", "choices"} & set(COPIER[name])] == []


def reserved(name: str, template: Path) -> bool:
    """Say whether a name is refused as a slug."""
    answers = {
        **{n: q.get("default") for n, q in COPIER.items() if n in ASKED},
        "project_slug": name,
    }
    return bool(problems_of(template, answers))


def test_names_that_python_knows_are_taken(plain_template: Path) -> None:
    """Every module of the running Python's library and every keyword is refused as a slug."""
    known = {*sys.stdlib_module_names, *keyword.kwlist, *keyword.softkwlist}
    free = [name for name in known if not reserved(name.lower(), plain_template)]
    assert [name for name in free if name not in {"None", "True", "False"}] == []


def test_names_of_dependencies_and_of_own_files_are_taken(plain_template: Path) -> None:
    """What the project depends on, by either name, and its own top-level names are refused as a slug."""
    wanted = {re.split(r"[\[<>=]", requirement)[0] for requirement in tree_requirements()}
    imports = {name for name, owners in packages_distributions().items() if wanted & set(owners)}
    own = {path.parts[0] for path in tree_files() if "." not in path.parts[0]} - {
        "Makefile",
        "Dockerfile",
    }
    names = {*wanted, *imports, *own, "app"}
    assert [name for name in names if not reserved(name.replace("-", "_"), plain_template)] == []


def answers_of(project: Path) -> dict[str, str]:
    """Return what the project's answers file says."""
    document = yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))
    return {str(name): value for name, value in document.items()}
