"""`python tools/recipe_digests.py [--write]`: compare the packaged recipes with their digests, or write these anew.

`tests/training/recipe_digests.json` holds every default of the training config, by its key, and for every recipe the
SHA-256 of the values that differ from them. A recipe thus cannot change unseen: neither by a base of it, nor by a
default. A new key with a default is one new line there. After a change on purpose: `--write`, and look at the
difference.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from avadet.config import Config, read_config
from avadet.files import whole_file
from avadet.recipes import recipe_names

DIGESTS = Path(__file__).resolve().parents[1] / "tests" / "training" / "recipe_digests.json"


def defaults() -> dict[str, Any]:
    """Every default of the training config that is no section, by its path; those of the data too."""
    return _leaves({**_defaults_of(Config), "data": _defaults_of(Config.model_fields["data"].annotation)})


def digest(name: str) -> str:
    """The SHA-256 of a recipe's values that differ from the defaults, as JSON with sorted keys."""
    same = defaults()
    values = _leaves(read_config(name).model_dump(mode="json"))
    differing = {key: value for key, value in values.items() if key not in same or same[key] != value}
    return hashlib.sha256(json.dumps(differing, sort_keys=True).encode()).hexdigest()


def current() -> dict[str, dict[str, Any]]:
    """What the file of digests is to hold."""
    return {"defaults": defaults(), "recipes": {name: digest(name) for name in recipe_names()}}


def _defaults_of(section: Any) -> dict[str, Any]:
    fields = {name: field for name, field in section.model_fields.items() if not field.is_required()}
    values = section.model_construct().model_dump(mode="json", include=set(fields))
    return dict(values)


def _leaves(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Values by their path; those of mappings that users fill are one value."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{above}{key}"
        if isinstance(value, dict) and not above and key != "bank":
            found |= _leaves(value, f"{path}.")
        else:
            found[path] = value
    return found


def main() -> int:
    """Compare or write; 1 if something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the file anew")
    args = parser.parse_args()
    now = current()
    before = json.loads(DIGESTS.read_text()) if DIGESTS.is_file() else {"defaults": {}, "recipes": {}}
    changed = [
        f"{part[:-1]} {key}"
        for part in now
        for key in sorted(now[part].keys() | before[part].keys())
        if now[part].get(key, before) != before[part].get(key, now)
    ]
    print("\n".join(changed) or "nothing has changed")
    if args.write:
        with whole_file(DIGESTS) as partial:
            partial.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n")
    return 1 if changed and not args.write else 0


if __name__ == "__main__":
    raise SystemExit(main())
