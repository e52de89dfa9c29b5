"""jevons: the governor for AI products. One import gives the library; `jevons --help` gives the tools."""

__version__ = "0.1.0"
