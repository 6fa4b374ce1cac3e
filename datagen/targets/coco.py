"""The words of photographs: COCO's 80 classes by GenEval's names, and what can be true of which noun.

States are predicates ("bent", "standing upside down") that a person can tell from a picture, listed
with the nouns of which they make sense; some of those nouns are not COCO's. Left out: verbs and people's
actions, whose judges are the weakest.
"""

import re

CLASS_NAMES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "computer mouse", "tv remote",
    "computer keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock",
    "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
PAIRS = frozenset({"scissors", "skis", "binoculars", "glasses"})
_IRREGULAR = {
    "person": "people", "sheep": "sheep", "knife": "knives", "computer mouse": "computer mice", "skis": "skis",
    "scissors": "scissors", "binoculars": "binoculars", "glasses": "glasses", "broccoli": "broccoli",
    "t-shirt": "t-shirts", "leaf": "leaves", "loaf": "loaves", "wolf": "wolves", "shelf": "shelves",
    "goose": "geese", "mouse": "mice", "fish": "fish", "ox": "oxen", "bison": "bison",
}  # fmt: skip


def plural(noun: str) -> str:
    """English plural; of a compound, its last word's."""
    rest, _, last = noun.rpartition(" ")
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if last in _IRREGULAR:
        return f"{rest} {_IRREGULAR[last]}"
    if re.search(r"(s|x|z|ch|sh)$", noun):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if re.search(r"[^aeiou]y$", noun) else f"{noun}s"


CLASSES: dict[str, str] = {name: plural(name) for name in CLASS_NAMES}

COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
MORE_COLORS = ("gray", "turquoise", "beige", "golden", "silver", "maroon", "navy")

_VESSELS = ("cup", "mug", "bottle", "bowl", "vase", "wine glass", "bucket", "jar", "teapot")
_VEHICLES = ("car", "bus", "truck", "motorcycle", "bicycle", "airplane", "boat", "train", "skateboard")
_ANIMALS = (
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "bird",
    "fox",
    "rabbit",
)
_FURNITURE = ("chair", "bench", "couch", "stool", "lamp", "ladder")

ORIENTATIONS: dict[str, tuple[str, ...]] = {
    "standing upside down": (*_VESSELS, "chair", "stool", "umbrella", "potted plant", "suitcase", "teddy bear",
                             "laptop", "clock", "traffic cone", "candle", "lamp"),
    "lying on its side": (*_VESSELS, *_FURNITURE, "bicycle", "car", "truck", "motorcycle", "suitcase", "clock",
                          "fire hydrant", "traffic cone", "potted plant", "backpack", "guitar", "candle"),
    "lying on its back": ("cat", "dog", "bear", "rabbit", "turtle", "teddy bear", "robot", "doll", "beetle"),
    "hanging upside down": ("bat", "teddy bear", "umbrella", "sloth", "doll", "bird", "monkey", "bicycle"),
    "facing left": (*_VEHICLES, *_ANIMALS, "teapot", "shoe", "statue"),
    "facing right": (*_VEHICLES, *_ANIMALS, "teapot", "shoe", "statue"),
    "facing away from the camera": (*_ANIMALS, "person", "car", "bus", "truck", "chair", "tv", "laptop",
                                    "teddy bear", "statue", "robot"),
    "seen from directly overhead": (*_VEHICLES, "pizza", "cup", "chair", "couch", "bed", "dining table", "cake",
                                    "umbrella", "computer keyboard", "boat"),
    "seen from far underneath": ("airplane", "kite", "umbrella", "giraffe", "bridge", "statue", "skyscraper"),
    "balanced on one corner": ("suitcase", "book", "laptop", "tv", "microwave", "picture frame", "dice", "brick"),
    "leaning at a steep angle": ("ladder", "surfboard", "bicycle", "guitar", "broom", "snowboard", "picture frame",
                                 "baseball bat", "tennis racket", "bookshelf"),
}  # fmt: skip

STRUCTURES: dict[str, tuple[str, ...]] = {
    "bent": ("knife", "fork", "spoon", "nail", "key", "paper clip", "street lamp", "straw", "stop sign", "arrow"),
    "snapped in two": ("pencil", "baseball bat", "surfboard", "carrot", "ruler", "snowboard", "cookie", "oar",
                       "toothbrush", "branch"),
    "cracked": ("cup", "mug", "bowl", "vase", "plate", "egg", "cell phone", "mirror", "window", "teapot", "clock"),
    "shattered": ("wine glass", "vase", "bottle", "mirror", "plate", "window", "light bulb"),
    "folded": ("umbrella", "newspaper", "shirt", "towel", "map", "chair", "napkin"),
    "crumpled": ("newspaper", "map", "shirt", "napkin", "can", "car", "paper bag"),
    "torn": ("book", "kite", "map", "newspaper", "backpack", "flag", "teddy bear", "umbrella", "tie"),
    "half eaten": ("apple", "pizza", "sandwich", "donut", "cake", "hot dog", "cookie", "banana"),
    "half peeled": ("banana", "orange", "potato", "egg", "tangerine"),
    "cut into slices": ("apple", "orange", "pizza", "cake", "carrot", "lemon", "cucumber", "watermelon", "tomato"),
    "half melted": ("candle", "snowman", "chocolate bar", "ice cream cone", "ice cube"),
    "deflated": ("sports ball", "balloon", "tire", "air mattress"),
    "missing one leg": ("chair", "dining table", "stool", "bed", "couch", "bench"),
    "missing one wheel": ("bicycle", "car", "truck", "skateboard", "suitcase", "motorcycle", "shopping cart"),
    "tied in a knot": ("tie", "rope", "scarf", "garden hose", "baguette", "trumpet"),
    "twisted into a spiral": ("fork", "spoon", "ladder", "candle", "baguette", "street lamp"),
    "opened wide": ("suitcase", "refrigerator", "oven", "microwave", "umbrella", "book", "laptop", "drawer",
                    "backpack", "wardrobe"),
    "missing its handle": ("mug", "teapot", "suitcase", "hammer", "frying pan", "umbrella", "bucket"),
    "missing most of its keys": ("computer keyboard", "piano", "typewriter"),
    "turned inside out": ("umbrella", "sock", "jacket", "backpack", "glove"),
}  # fmt: skip

MATERIALS: dict[str, tuple[str, ...]] = {
    "wooden": ("bench", "chair", "bowl", "spoon", "dining table", "boat", "bed", "clock", "baseball bat"),
    "metal": ("bench", "chair", "bowl", "cup", "bottle", "fire hydrant", "bicycle", "toaster"),
    "glass": ("bottle", "bowl", "vase", "cup", "dining table"),
    "plastic": ("chair", "bottle", "cup", "fork", "knife", "spoon", "bowl", "frisbee"),
    "leather": ("couch", "handbag", "suitcase", "backpack", "chair", "baseball glove"),
    "ceramic": ("vase", "bowl", "cup", "sink"),
    "striped": ("tie", "umbrella", "backpack", "handbag", "kite", "couch", "cup"),
    "rusty": ("car", "truck", "bicycle", "fire hydrant", "parking meter", "bench", "train", "boat"),
    "fluffy": ("dog", "cat", "sheep", "teddy bear", "bird"),
}  # fmt: skip

COMPANIONS: dict[str, tuple[str, ...]] = {
    "dining table": ("chair", "cup", "bowl", "wine glass"), "chair": ("dining table", "person"),
    "bed": ("teddy bear", "cat", "book"), "couch": ("cat", "dog", "tv"), "toilet": ("sink",), "sink": ("toothbrush", "cup"),
    "tv": ("tv remote", "couch"), "laptop": ("computer mouse", "cup"), "computer keyboard": ("computer mouse", "laptop"),
    "pizza": ("knife", "person"), "cake": ("fork", "knife"), "hot dog": ("bottle",), "sandwich": ("cup",),
    "bowl": ("spoon", "banana", "apple"), "knife": ("fork", "spoon"), "fork": ("knife",), "vase": ("potted plant",),
    "bicycle": ("person",), "motorcycle": ("person",), "skateboard": ("person",), "surfboard": ("person",),
    "snowboard": ("person",), "skis": ("person",), "horse": ("person",), "kite": ("person",), "boat": ("person", "bird"),
    "bench": ("person", "backpack"), "car": ("person", "traffic light"), "bus": ("person", "car"),
    "train": ("person",), "umbrella": ("person",), "frisbee": ("dog", "person"), "tennis racket": ("sports ball", "person"),
    "baseball bat": ("person", "baseball glove"), "baseball glove": ("sports ball",), "oven": ("microwave",),
    "refrigerator": ("oven", "microwave"), "traffic light": ("car",), "stop sign": ("car",), "tie": ("person",),
    "zebra": ("giraffe",), "sheep": ("dog", "person"), "cow": ("person",), "elephant": ("person",),
}  # fmt: skip

STYLES = (
    "a watercolor painting", "an oil painting", "a charcoal sketch", "pixel art", "a stained glass window",
    "a woodblock print", "a comic book panel", "a paper collage", "a clay animation still", "a low poly render",
    "a mosaic of small tiles", "a chalk drawing", "a vintage travel poster", "an ink wash painting",
    "a cross stitch embroidery", "a blueprint", "a pointillist painting", "a cubist painting", "origami",
    "a black and white film still", "a children's crayon drawing", "an art nouveau poster", "graffiti on a wall",
    "a medieval manuscript illustration", "a linocut", "a pastel drawing", "a double exposure photograph",
)  # fmt: skip

SETTINGS = (
    "in a small kitchen", "in a busy train station", "on a snowy mountain", "at night under street lights",
    "in a quiet library", "on a sandy beach at sunset", "in a dense pine forest", "on a rooftop in the rain",
    "in an empty parking lot", "in a sunlit greenhouse", "on a frozen lake", "in a crowded market",
    "in a dusty attic", "by a wide river", "in a desert at noon", "in a school classroom", "inside a wooden barn",
    "in a hospital corridor", "on a cobblestone street", "in a foggy meadow", "on a basketball court",
    "in a hotel lobby", "under a stone bridge", "in an art museum", "in a flooded street", "on a ferry deck",
)  # fmt: skip

CARRIERS = (
    "poster", "billboard", "shop sign", "t-shirt", "mug", "banner", "book cover", "chalkboard", "road sign",
    "birthday cake", "cereal box", "neon sign", "wooden plank", "movie ticket", "notebook", "license plate",
    "newspaper", "bottle label", "tote bag", "greeting card", "protest sign", "coffee cup", "train ticket",
    "bumper sticker",
)  # fmt: skip
