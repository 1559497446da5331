"""The words of replies."""

import json
from pathlib import Path

import pytest

from cloakroom_sessions import Corrupt
from cloakroom_sessions.errors import of_reply

_OPERATIONS = json.loads((Path(__file__).parents[3] / "lua/bundle.json").read_text())["operations"]
#: What is no refusal, and what has an exception that is made otherwise.
_OTHERS = {"ok", "again", "unchanged", "part", "unsure", "corrupt"}
_REFUSALS = {
    reply["word"]: [field["name"] for field in reply["fields"]]
    for operation in _OPERATIONS.values()
    for reply in operation["replies"]
    if reply["word"] not in _OTHERS
}


@pytest.mark.parametrize("word", sorted(_REFUSALS))
def test_each_word_that_refuses_a_call_is_known(word: str) -> None:
    assert not isinstance(of_reply(word, dict.fromkeys(_REFUSALS[word], 1)), Corrupt)


def test_a_word_of_another_contract_is_not() -> None:
    assert isinstance(of_reply("perhaps", {}), Corrupt)
