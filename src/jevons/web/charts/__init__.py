"""Charts as SVG text. Pure: plain numbers in, markup out. Colours are CSS classes: one drawing for light and dark.

Every chart is drawn for a width in CSS pixels: once for wide screens, once for narrow ones, so that its text stays
readable on both. No chart holds a `style` attribute: the pages forbid them.
"""
