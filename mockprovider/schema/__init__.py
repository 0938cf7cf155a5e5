"""Values that satisfy a JSON Schema, and the check of OpenAI's strict subset.

    check_strict(schema, name="weather")            # raises SchemaError as the API answers 400
    value = instance(schema, seed.stream("text"))   # the same schema and the same generator state: the same value

How `instance` works, one file a step:
- `outline.py` surveys the schema once: resolves references, refuses what is malformed or not supported, and
  knows of every schema the size of its smallest value, so recursion can be left by the shortest way;
- `maker.py` turns the schemas that hold for one place into a flat list (references followed, a branch of every
  `anyOf` and `oneOf` chosen) and draws a value for it; `containers.py`, `numbers.py` and `text.py` (with
  `formats.py` and `pattern.py`) draw those of each type;
- `valid.py` checks. What is drawn without a guarantee is checked where it is drawn and drawn again, and the whole
  value is checked at the end: a value that does not satisfy the schema is never returned.
"""

from __future__ import annotations

from .error import SchemaError
from .maker import instance
from .strict import check_strict

__all__ = ["SchemaError", "check_strict", "instance"]
