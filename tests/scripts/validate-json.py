"""Validates documents with Python's jsonschema: DIR of schemas, FILE with a line [name, document] each."""

import json
import pathlib
import sys

import jsonschema
import referencing

BASE = "https://schema.invalid/"


def main(schemas, documents):
    resources, validators = [], {}
    paths = sorted(pathlib.Path(schemas).glob("*.json"))
    for path in paths:
        schema = json.loads(path.read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        resources.append((BASE + path.name, referencing.Resource.from_contents(schema)))
    registry = referencing.Registry().with_resources(resources)
    for path in paths:
        validators[path.stem] = jsonschema.Draft202012Validator(
            {"$ref": BASE + path.name},
            registry=registry,
            format_checker=jsonschema.FormatChecker(),
        )
    wrong = 0
    with open(documents) as lines:
        for line in lines:
            name, document = json.loads(line)
            for error in validators[name].iter_errors(document):
                print(f"{name}: {error.json_path}: {error.message[:200]}")
                wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
