"""The command line, run in this process."""

import json
import socket
from dataclasses import dataclass

import pytest
from click.testing import CliRunner

from clozework import models
from clozework.cli import application
from tests.contract.families import TASKS, tiny_task

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "heaven", "earth", "and", "##s"]


@dataclass(frozen=True)
class Result:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def clozework():
    """Runs a command: `clozework("fill", "...", input="...")`."""

    def run(*arguments, **options) -> Result:
        result = CliRunner().invoke(application, [str(a) for a in arguments], **options)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Result(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture(scope="session")
def preset(tmp_path_factory):
    """A directory with a tiny masked LM."""
    tokenizer = models.BertTokenizer(VOCABULARY, lowercase=True)
    backbone = models.BertBackbone(
        vocabulary_size=len(VOCABULARY),
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=16,
        # As in the head: `transformers` has one value for both.
        activation="gelu",
        layer_norm_epsilon=1e-5,
    )
    preprocessor = models.BertMaskedLMPreprocessor(tokenizer, sequence_length=16)
    directory = tmp_path_factory.mktemp("presets") / "tiny"
    models.BertMaskedLM(backbone, preprocessor).save_to_preset(directory)
    return directory


@pytest.fixture
def no_network(monkeypatch):
    """Fails whatever opens a connection."""

    def refuse(*address):
        raise AssertionError(f"a connection was opened: {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Directory of a tiny task of each kind, by the command that uses it."""
    names = {"label_names": ["good", "bad", "so so"]}
    tasks = {
        "classify": tiny_task(TASKS["BertTextClassifier"], **names),
        "tag": tiny_task(TASKS["BertTokenClassifier"], **names),
        "embed": tiny_task(TASKS["BertTextEmbedder"]),
        "answer": tiny_task(TASKS["BertQuestionAnswerer"]),
        "rerank": tiny_task(TASKS["BertTextClassifier"], num_classes=1),
        "generate": tiny_task(TASKS["GemmaCausalLM"]),
        "summarize": tiny_task(TASKS["BartSeq2SeqLM"]),
    }
    root = tmp_path_factory.mktemp("tasks")
    for command, task in tasks.items():
        task.save_to_preset(root / command)
    return root
