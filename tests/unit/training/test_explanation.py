"""Which words an answer hangs on, and the page that shows it."""

import pytest

from clozework.errors import InputError
from clozework.tasks import ClassLabel
from clozework.training import explain_class, explanation_page


class Classifier:
    """The more often a text says fine, the better; the more often dull, the worse."""

    def classify(self, texts):
        found = []
        for text in texts:
            good = 0.5 + 0.2 * text.count("fine") - 0.1 * text.count("dull")
            labels = [ClassLabel("good", good), ClassLabel("<bad>", 1 - good)]
            found.append(sorted(labels, key=lambda label: -label.probability))
        return found


def test_words_weigh_what_the_answer_loses_without_them():
    text = "a fine,  dull film & so"
    explanation = explain_class(Classifier(), text)
    assert (explanation.label, explanation.probability) == ("good", pytest.approx(0.6))
    weights = {word.word: word.weight for word in explanation.words}
    assert weights == pytest.approx(
        {"a": 0, "fine,": 0.2, "dull": -0.1, "film": 0, "&": 0, "so": 0}
    )
    assert all(text[word.start : word.end] == word.word for word in explanation.words)
    other = explain_class(Classifier(), text, "<bad>")
    assert [word.weight for word in other.words] == pytest.approx([-w for w in weights.values()])


def test_a_page_has_the_words_in_their_places():
    page = explanation_page(explain_class(Classifier(), "a fine,  dull film & so", "<bad>"))
    assert "&lt;bad&gt;" in page
    assert '<span class="for" style="--share:0.50" title="+0.100">dull</span> ' in page
    assert '<span class="against" style="--share:1.00" title="-0.200">fine,</span>  ' in page
    assert "&amp;" in page


def test_what_cannot_be_explained_is_refused():
    with pytest.raises(InputError, match="fewer than two words"):
        explain_class(Classifier(), "fine")
    with pytest.raises(InputError, match="no class 'odd'. It has: 'good', '<bad>'"):
        explain_class(Classifier(), "a fine film", "odd")
