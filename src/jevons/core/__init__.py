"""The nouns that every other room speaks: frozen values, no behaviour beyond arithmetic, no import of ours."""
