"""The colours of one visual language: forward is blue, error that flows back orange, what is not trained grey.

A colour never stands alone: forward has the sign ▶, backward ◀, what is not trained the word "frozen".
"""

BLUE = (11, 92, 173)
ORANGE = (181, 71, 8)

FORWARD, BACKWARD, STILL = "#4c9be8", "#e8843c", "grey62"  # in a terminal, on dark and on light
LIGHT = {
    "paper": "#ffffff",
    "card": "#f6f8fa",
    "ink": "#1b1f24",
    "muted": "#57606a",
    "edge": "#d0d7de",
    "forward": "#0b5cad",
    "error": "#b54708",
    "still": "#6e7781",
    "good": "#1a7f37",
    "bad": "#cf222e",
}
DARK = {
    "paper": "#0f141a",
    "card": "#171e26",
    "ink": "#e6edf3",
    "muted": "#9aa7b4",
    "edge": "#303a45",
    "forward": "#58a6ff",
    "error": "#ff9e57",
    "still": "#8b949e",
    "good": "#3fb950",
    "bad": "#ff7b72",
}
