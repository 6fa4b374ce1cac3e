"""Facts behind riddles: a hint that a prompt gives, and what it stands for, which the trace must work out.

The skills are those of WISE (culture, time, space, biology, physics, chemistry); every hint is written
for this table. A hint stands for a number, a colour, or a thing with what is true of it. Left out:
facts that change, and facts on which people disagree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from datagen.sample import Clause
from datagen.scenes.captions import COLOR_FACTS, NUMBER_FACTS


@dataclass(frozen=True)
class Fact:
    """What a hint stands for; only the field of its kind is set."""

    kind: Literal["number", "color", "thing"]
    number: int = 0
    color: str = ""
    thing: Clause | None = None


def drawn(most: int) -> dict[str, Fact]:
    """Hints for a number up to ``most`` or a colour, of anything that can be drawn."""
    numbers = {hint: Fact("number", number=n) for n, hint in NUMBER_FACTS if n <= most}
    return {**numbers, **{hint: Fact("color", color=color) for color, hint in COLOR_FACTS}}


# Hint -> noun.
_THINGS: Mapping[str, str] = {
    # culture
    "the fruit in New York's nickname": "apple",
    "the leaf on the flag of Canada": "maple leaf",
    "the animal that the flag of Sri Lanka shows": "lion",
    "the marble tower in Pisa that never stood straight": "leaning tower",
    "the round flatbread with tomato and cheese that Naples is proud of": "pizza",
    "the narrow black boat that Venetians row": "gondola",
    "the hollow wooden toy from Russia with smaller copies inside": "nesting doll",
    "the flower that ruined Dutch speculators": "tulip",
    "the pleated garment of a Scottish piper": "kilt",
    "the black and white animal that China lends to zoos": "panda",
    "the weapon that Arthur pulled out of a stone": "sword",
    "the hollow gift that ended the siege of Troy": "wooden horse",
    "the vegetable that is hollowed out for Halloween": "pumpkin",
    "the ship of the desert": "camel",
    "the flat square cap of a new graduate": "mortarboard",
    "the round toy that climbs back up its string": "yo-yo",
    "the instrument that Paganini made his name with": "violin",
    "the instrument with eighty eight keys": "piano",
    "the curved stick that returns to the Australian who threw it": "boomerang",
    "the pastry ring that police officers eat in old films": "donut",
    "the board game piece that is shaped like a horse's head": "chess knight",
    "the folded paper bird that stands for peace in Hiroshima": "paper crane",
    "the footwear that Cinderella lost": "glass slipper",
    "the red double decked vehicle of London": "bus",
    "the animal that pulls Santa's sleigh": "reindeer",
    # time
    "the clock that works by the shadow of a plate": "sundial",
    "the glass device that counts minutes by falling sand": "hourglass",
    "the desk machine on which letters were written before computers": "typewriter",
    "the device that spins a vinyl disc under a needle": "record player",
    "the light by which monks copied books": "candle",
    "the feather that clerks once wrote with": "quill",
    "the bird that announces sunrise on a farm": "rooster",
    "the aircraft that crossed the Atlantic filled with gas before airliners": "airship",
    "the vehicle that horses pulled before engines replaced them": "carriage",
    "the box with a dark cloth under which early photographers hid": "bellows camera",
    "the iron suit in which knights rode": "suit of armor",
    # space: where things are
    "the animal that carries its young in a pouch across the outback": "kangaroo",
    "a stone head of the kind that looks inland on Easter Island": "moai statue",
    "the bird that walks over the ice of Antarctica": "penguin",
    "the house of snow blocks in the far north": "igloo",
    "the kind of tomb that pharaohs built at Giza": "pyramid",
    "the tall plant with raised arms in Arizona": "cactus",
    "the tree whose trunk stores water on Madagascar": "baobab",
    "the needle that always turns to the north": "compass",
    "the building that warns ships off the rocks": "lighthouse",
    "the planet with the brightest rings": "Saturn",
    "the wheeled robot that drives over Mars": "rover",
    # biology
    "the land animal with the longest neck": "giraffe",
    "the striped cousin of the horse": "zebra",
    "the farm animal that is shorn for its wool": "sheep",
    "the largest animal that ever lived": "blue whale",
    "the insect that makes honey": "bee",
    "the winged insect that a caterpillar turns into": "butterfly",
    "the animal that a tadpole grows into": "frog",
    "the only mammal that truly flies": "bat",
    "the rodent that fells trees to dam streams": "beaver",
    "the sea animal with eight arms and an ink sac": "octopus",
    "the bird whose tail is full of eyes": "peacock",
    "the slow reptile that wears its house": "tortoise",
    "the nut from which an oak grows": "acorn",
    "the fruit that chimpanzees peel in cartoons": "banana",
    "the animal with black rings around its eyes that raids bins": "raccoon",
    "the gray giant that drinks through its nose": "elephant",
    "the long root vegetable that rabbits are said to love": "carrot",
    "the bird that hunts mice at night without a sound": "owl",
    "the flower that turns its head with the sun": "sunflower",
}  # fmt: skip

# Hint -> noun, then what is true of it: a colour or a state.
_ALTERED: tuple[tuple[str, str, str, str], ...] = (
    # physics
    ("an umbrella that a gale caught from below", "umbrella", "", "turned inside out"),
    ("an egg that rolled off the kitchen counter", "egg", "", "shattered"),
    ("a hand mirror that fell on a stone floor", "hand mirror", "", "cracked"),
    ("a beach ball with its valve left open all day", "beach ball", "", "deflated"),
    ("a straw seen through a full glass of water", "straw", "", "bent"),
    ("a pond in Lapland in the middle of January", "pond", "", "frozen over"),
    ("a snowman on the first warm day of spring", "snowman", "", "half melted"),
    ("a horseshoe fresh from the forge", "horseshoe", "orange", "glowing"),
    ("a spring with a heavy weight hung on it", "spring", "", "stretched long"),
    ("a helium balloon let go in a room", "balloon", "", "touching the ceiling"),
    ("a cork dropped into a basin of water", "cork", "", "floating"),
    ("a stone dropped into a glass of water", "stone", "", "lying at the bottom"),
    # chemistry
    ("an iron nail after years in the rain", "nail", "", "covered in rust"),
    ("a copper roof a hundred years after it was laid", "roof", "green", ""),
    ("litmus paper dipped in lemon juice", "strip of paper", "red", ""),
    ("litmus paper dipped in soapy water", "strip of paper", "blue", ""),
    ("a flame into which table salt is sprinkled", "flame", "yellow", ""),
    ("a flame into which copper salt is sprinkled", "flame", "green", ""),
    ("a cut apple left on the counter for hours", "apple slice", "brown", ""),
    ("a candle that burned through the whole night", "candle", "", "half melted"),
    ("milk after a squeeze of lemon", "glass of milk", "", "curdled"),
    ("toast from a toaster that was set far too high", "slice of toast", "black", ""),
    ("a silver spoon that nobody polished for decades", "spoon", "black", "tarnished"),
    # biology and time
    ("a banana forgotten in the bowl for three weeks", "banana", "brown", ""),
    ("a loaf kept in a damp box for a month", "loaf of bread", "", "covered in mold"),
    ("a dandelion once its seeds are ready to fly", "dandelion", "white", ""),
    ("a maple tree in Vermont in the middle of October", "maple tree", "red", ""),
    ("a birch in Moscow in February", "birch tree", "", "without leaves"),
    ("an Arctic hare in midwinter", "hare", "white", ""),
    ("an unripe tomato", "tomato", "green", ""),
    ("a lobster that comes out of the pot", "lobster", "red", ""),
    ("a hedgehog that was startled", "hedgehog", "", "rolled into a ball"),
    ("a houseplant after a month without water", "potted plant", "", "wilted"),
    ("a cherry tree in Kyoto in early April", "cherry tree", "pink", "in full bloom"),
    ("a wheat field in July just before harvest", "wheat field", "golden", ""),
)

WORLD: dict[str, Fact] = {
    **{hint: Fact("thing", thing=Clause(noun)) for hint, noun in _THINGS.items()},
    **{
        hint: Fact("thing", thing=Clause(noun, color=color or None, state=state or None))
        for hint, noun, color, state in _ALTERED
    },
}
