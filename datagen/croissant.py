"""``croissant.json``: the dataset in MLCommons' Croissant 1.0 (JSON-LD), for what reads datasets by machine.

The Hub makes this by itself of public datasets only, and ours are private at first. Paths are relative to the
file, so it holds on a disk and on the Hub alike, and the same data have the same bytes. Left out for that:
who published it where, when and as which version (``creator``, ``url``, ``datePublished``, ``version``), which
the Hub's page knows.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

CROISSANT = "croissant.json"
TYPES = {
    "string": "sc:Text", "float64": "sc:Float", "int64": "sc:Integer", "int32": "sc:Integer",
    "PIL.Image.Image": "sc:ImageObject",
}  # fmt: skip
LICENCES = {"apache-2.0": "https://spdx.org/licenses/Apache-2.0.html"}
TERMS = (
    "citeAs", "column", "extract", "field", "fileProperty", "fileObject", "fileSet", "format", "includes",
    "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex",
    "repeated", "replace", "separator", "source", "subField", "transform",
)  # fmt: skip
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in TERMS},
}


def croissant(
    card: str, columns: Mapping[str, tuple[str, str]], files: Mapping[str, Mapping[str, Any]]
) -> str:
    """The text of ``croissant.json``.

    ``card`` gives title, description and licence; ``columns`` are name to dtype and meaning; ``files`` the
    Parquet files, ``data/SPLIT-*``, to their ``sha256`` and ``bytes``.
    """
    facts, title, about = _head(card)
    splits = sorted({name.partition("/")[2].partition("-")[0] for name in files})
    licence = facts.get("license", "other")
    row = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": title,
        "description": about,
        "license": LICENCES.get(licence, facts.get("license_name", licence)),
        "keywords": facts.get("tags", []),
        "distribution": [
            *(_file(name, facts["sha256"], facts["bytes"]) for name, facts in sorted(files.items())),
            {
                "@type": "cr:FileSet",
                "@id": "parquet-files",
                "name": "parquet-files",
                "description": "All files of the dataset, as one table.",
                "encodingFormat": "application/x-parquet",
                "includes": "data/*.parquet",
            },
        ],
        "recordSet": [_splits(splits), _records(columns, splits)],
    }
    return json.dumps(row, indent=1, ensure_ascii=False) + "\n"


def _head(card: str) -> tuple[dict[str, Any], str, str]:
    """A card's front matter, its title and its first paragraph."""
    matter = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    facts = yaml.safe_load(matter[1]) if matter else {}
    blocks = card[matter.end() if matter else 0 :].strip().split("\n\n")
    title = blocks[0].removeprefix("# ")
    return facts, title, " ".join(blocks[1 if len(blocks) > 1 else 0].split())


def _file(name: str, sha256: str, size: int) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{size} B",
        "encodingFormat": "application/x-parquet",
        "sha256": sha256,
    }


def _splits(splits: list[str]) -> dict[str, Any]:
    name = {
        "@type": "cr:Field",
        "@id": "splits/name",
        "name": "name",
        "description": "train was kept; dropped was not, with drop_reason.",
        "dataType": "sc:Text",
    }
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "The splits.",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [name],
        "data": [{"splits/name": split} for split in splits],
    }


def _records(columns: Mapping[str, tuple[str, str]], splits: list[str]) -> dict[str, Any]:
    """One record a candidate: its split, told by the file's name, and every column."""
    split = _field("split", "sc:Text", "The split the candidate is in.", {"fileProperty": "fullpath"})
    split["source"]["transform"] = {"regex": f"^(?:.*/)?({'|'.join(splits)})(?:-[^/]*)?$"}
    split["references"] = {"field": {"@id": "splits/name"}}
    fields = [split]
    for name, (dtype, meaning) in columns.items():
        fields.append(_field(name, TYPES[dtype], meaning, {"column": name}))
        if TYPES[dtype] == "sc:ImageObject":
            fields[-1]["source"]["transform"] = {"jsonPath": "bytes"}
    return {
        "@type": "cr:RecordSet",
        "@id": "candidates",
        "name": "candidates",
        "description": "One candidate of one prompt: a reasoning trace and the image drawn after it.",
        "key": {"@id": "candidates/id"},
        "field": fields,
    }


def _field(name: str, kind: str, meaning: str, extract: dict[str, str]) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"candidates/{name}",
        "name": name,
        "description": meaning,
        "dataType": kind,
        "source": {"fileSet": {"@id": "parquet-files"}, "extract": extract},
    }
