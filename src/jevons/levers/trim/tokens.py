"""How many tokens a text is worth, without a tokenizer: a weighted count of character classes.

What lives here: one linear estimate and its weights. It knows no provider; a session's reported usage scales it
(`Scale`), and a bill is never booked from it. Single spaces cost nothing (a tokenizer joins them to the word).
"""

import re

import msgspec

_WORDS = re.compile(r"[A-Za-z]+")
_PUNCT = re.compile(r"[^\w\s]+")
_SPACES = re.compile(r"[ \t]{2,}")

# Least squares against the o200k vocabulary on 1,900 messages of coding and airline sessions: half of all messages
# within 5%. On edits it errs on the modest side: minified JSON .800 of its tokens (true .788), file listings without
# their line numbers .695 (true .687). A fit to one provider's reported usage gives weights of the same sizes.
PER_WORD = 0.743
PER_LETTER = 0.045
PER_DIGIT = 0.87
PER_PUNCTUATION_RUN = 0.992
PER_NEWLINE = 0.985
PER_SPACE_RUN = 0.653
PER_NON_ASCII = 0.215
MIN_PROMPT_FOR_SCALE = 2_000
SCALE_BOUNDS = (0.5, 2.5)


def estimate(text: str) -> float:
    """Estimated tokens of a text (see the weights above); 0 for an empty one."""
    words = _WORDS.findall(text)
    letters = sum(map(len, words))
    digits = sum(map(text.count, "0123456789"))
    non_ascii = 0 if text.isascii() else len(text) - len(text.encode("ascii", "ignore"))
    return (
        PER_WORD * len(words)
        + PER_LETTER * letters
        + PER_DIGIT * digits
        + PER_PUNCTUATION_RUN * len(_PUNCT.findall(text))
        + PER_NEWLINE * text.count("\n")
        + PER_SPACE_RUN * len(_SPACES.findall(text))
        + PER_NON_ASCII * non_ascii
    )


class Scale(msgspec.Struct):
    """Reported tokens per estimated token, from the growth of one session's prompts."""

    first_reported: int = 0
    first_estimated: float = 0.0
    factor: float = 1.0

    def see(self, reported: int, estimated: float) -> None:
        """Take a reported prompt size (tokens) and the estimate of the same prompt's turns."""
        if self.first_reported == 0 or estimated < self.first_estimated:
            self.first_reported, self.first_estimated = reported, estimated
            return
        grown = estimated - self.first_estimated
        if grown >= MIN_PROMPT_FOR_SCALE:
            low, high = SCALE_BOUNDS
            self.factor = min(high, max(low, (reported - self.first_reported) / grown))
