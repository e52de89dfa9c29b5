"""What a reply burned, in tokens, each token counted exactly once.

OpenAI reports prompt tokens with cached ones inside, Anthropic reports three numbers side by side. Here the four
input kinds are disjoint, so a sum over them is the prompt, in either convention. The wire readers do the conversion.
"""

import msgspec


class Usage(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=False):
    """Token counts of one attempt. The input kinds are disjoint; `reasoning` is a part of `output`."""

    input: int = 0
    """Prompt tokens at the plain rate: neither read from nor written to a provider's cache."""
    cached: int = 0
    """Prompt tokens read from the provider's cache."""
    cache_write_5m: int = 0
    """Prompt tokens written to the provider's cache for five minutes."""
    cache_write_1h: int = 0
    """Prompt tokens written to the provider's cache for one hour."""
    output: int = 0
    """All tokens produced, hidden reasoning included."""
    reasoning: int = 0
    """The part of `output` that was hidden reasoning."""

    @property
    def prompt(self) -> int:
        """All prompt tokens: what a context-length price tier looks at."""
        return self.input + self.cached + self.cache_write_5m + self.cache_write_1h

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            input=self.input + other.input,
            cached=self.cached + other.cached,
            cache_write_5m=self.cache_write_5m + other.cache_write_5m,
            cache_write_1h=self.cache_write_1h + other.cache_write_1h,
            output=self.output + other.output,
            reasoning=self.reasoning + other.reasoning,
        )


NOTHING = Usage()
