# RUN: %python %s %t
"""The schemas are JSON Schema that the shipped files obey; the functions of the language are listed."""
import json

import programs

TYPES = {"object", "array", "string", "number", "integer", "boolean", "null"}


def walk(schema, path):
    """Every keyword has the type JSON Schema asks for; references resolve."""
    if isinstance(schema, bool):
        return
    programs.expect(isinstance(schema, dict), f"{path} is no schema")
    kinds = schema.get("type", [])
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        programs.expect(kind in TYPES, f"{path} has type {kind}")
    for keyword in ("properties", "patternProperties", "$defs"):
        for name, inner in schema.get(keyword, {}).items():
            walk(inner, f"{path}/{keyword}/{name}")
    for keyword in ("anyOf", "oneOf", "allOf"):
        for number, inner in enumerate(schema.get(keyword, [])):
            walk(inner, f"{path}/{keyword}/{number}")
    for keyword in ("items", "additionalProperties", "propertyNames", "not"):
        if keyword in schema:
            walk(schema[keyword], f"{path}/{keyword}")
    for name in schema.get("required", []):
        programs.expect(name in schema.get("properties", {}), f"{path} requires {name}, which it does not describe")


for kind in ("model", "block", "recipe", "optimizer", "quantiser"):
    schema = json.loads(programs.call([programs.PGC, "schema", kind])[0])
    programs.expect_in("json-schema.org/draft/2020-12", schema["$schema"])
    programs.expect(schema["type"] == "object" and schema["additionalProperties"] is False, f"{kind}: closed keys")
    programs.expect(len(schema["properties"]) >= 4, f"{kind}: {list(schema['properties'])}")
    walk(schema, kind)

functions = json.loads(programs.call([programs.PGC, "schema", "functions"])[0])
text = json.dumps(functions)
for name in ("linear", "rms_norm", "attention", "range", "softcap", "constant"):
    programs.expect_in(f'"{name}"', text)
error = programs.call([programs.PGC, "schema", "modle"], code=2)[1]
programs.expect_in("model", error)
