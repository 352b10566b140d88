"""A pinned schema as JSON Schema: 2020-12, or draft-07 for editors and SchemaStore.

What the framework takes, the export takes: numbers as text where the framework reads them so, and keys that it
passes over. Which keys those are, `ftmigrate.verify.schema_level` tells.
"""

from __future__ import annotations

from functools import partial

from ftmigrate.json_schema.components import Components
from ftmigrate.json_schema.draft7 import to_draft7
from ftmigrate.json_schema.nested import Nested
from ftmigrate.json_schema.sections import Definitions, Sections
from ftmigrate.json_schema.types import Json
from ftmigrate.schema import Layout, Schema, UnknownRecipe, recipes

DRAFTS = ("2020-12", "7")
DIALECT = "https://json-schema.org/draft/2020-12/schema"

__all__ = ["DRAFTS", "Json", "UnknownRecipe", "export", "recipes"]


def export(
    schema: Schema, layout: Layout, draft: str = "2020-12", recipe: str | None = None, *, annotated: bool = False
) -> Json:
    """One version as one JSON Schema document, or one recipe of it.

    `annotated` adds `x-type` (the annotation) and `x-plugin` (who reads the key), which say more than the keywords
    can; they are not for publishing. Raises UnknownRecipe.
    """
    if draft not in DRAFTS:
        raise ValueError(f"no draft {draft}: {', '.join(DRAFTS)}")
    known = recipes(schema, layout)
    if recipe is not None and recipe not in known:
        raise UnknownRecipe(schema, recipe, known)
    definitions = Definitions()
    sections = Sections(schema, layout, definitions, annotated=annotated)
    title = f"{schema.framework} {schema.version}"
    if not known:
        body = sections.root()
    else:
        nested = Nested(sections, Components(sections))
        if recipe is None:
            roots = [definitions.add(f"recipe {name}", partial(nested.recipe, name)) for name in known]
            body = {"anyOf": roots}
        else:
            body = nested.recipe(recipe)
            title += f", {recipe}"
    document: Json = {"$schema": DIALECT, "title": title, **body}
    if definitions.found:
        document["$defs"] = dict(sorted(definitions.found.items()))
    return to_draft7(document) if draft == "7" else document
