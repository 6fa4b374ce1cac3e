"""The words and colours of scenes.

Everything that draws, describes, verifies or judges a scene takes its constants from here.
"""

SIZE_PX = 48  # a scene is 48 x 48 px
GRID = 3  # objects sit in the cells of a 3 x 3 grid

SHAPES = ("circle", "square", "triangle", "star", "cross", "heart")
PLURALS = {
    "circle": "circles",
    "square": "squares",
    "triangle": "triangles",
    "star": "stars",
    "cross": "crosses",
    "heart": "hearts",
}
COLORS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "orange": (245, 130, 32),
    "yellow": (248, 208, 40),
    "green": (46, 160, 67),
    "blue": (38, 96, 214),
    "purple": (130, 60, 170),
    "pink": (248, 140, 190),
    "black": (30, 30, 34),
}
SIZES = ("small", "large")
RELATIONS = ("left of", "right of", "above", "below")
NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "center", "right")
CELLS = tuple(f"{row} {column}" for row in ROWS for column in COLUMNS)  # index = 3 * row + column
