#!/usr/bin/env python3
"""Has the dashboard and the monitors of deploy/datadog judged by the models of Datadog's own client.

    datadog_json.py REPOSITORY

Needs PyPI datadog-api-client==2.62.0. Its models refuse a wrong type; a word that they do not know they only mark
(`_unparsed`), so that mark is looked for at every depth, and so are keys that no model has. Each file must also be
refused once something in it is wrong: a judge that takes anything is none.
"""

import copy
import json
import pathlib
import sys

from datadog_api_client.configuration import Configuration
from datadog_api_client.model_utils import ModelNormal, validate_and_convert_types
from datadog_api_client.v1.model.dashboard import Dashboard
from datadog_api_client.v1.model.monitor import Monitor


class Refused(Exception):
    pass


def faults(value, path):
    """Where a model did not know what it read."""
    if getattr(value, "_unparsed", False):
        yield f"{path}: not known"
        return
    if isinstance(value, ModelNormal):
        types = value.openapi_types
        for name, inner in value.to_dict().items():
            attribute = getattr(value, name, None)
            if name not in types:
                yield f"{path}.{name}: no such key"
            else:
                yield from faults(attribute if attribute is not None else inner, f"{path}.{name}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from faults(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from faults(item, f"{path}.{name}")
    elif hasattr(value, "get_oneof_instance"):
        yield from faults(value.get_oneof_instance(), path)


def read(document, model):
    try:
        read = validate_and_convert_types(document, (model,), [model.__name__], True, True, Configuration())
    except Exception as error:
        raise Refused(str(error)) from error
    found = list(faults(read, model.__name__))
    if found:
        raise Refused("; ".join(found))
    if read.to_dict() != document:
        raise Refused(f"{model.__name__} reads something else than is written")


def spoilt(document, model):
    """The same with one thing wrong, several times over."""
    def changed(change):
        other = copy.deepcopy(document)
        change(other)
        return other

    yield changed(lambda it: it.update(tags=7))
    if model is Monitor:
        yield changed(lambda it: it.update(type="event-v3 alert"))
        yield changed(lambda it: it["options"].update(thresholds={"critical": "many"}))
        yield changed(lambda it: it.update(priority="high"))
        yield changed(lambda it: it["options"].update(renotify="never"))
        yield changed(lambda it: it.pop("query"))
    else:
        first = lambda it: it["widgets"][0]["definition"]
        yield changed(lambda it: it.update(layout_type="heap"))
        yield changed(lambda it: first(it).update(type="time series"))
        yield changed(lambda it: first(it)["requests"][0].update(display_type="pie"))
        yield changed(lambda it: first(it)["requests"][0]["queries"][0].update(data_source="rumours"))
        yield changed(lambda it: first(it).update(titel="Requests"))
        yield changed(lambda it: first(it).update(requests="none"))


def main(repository):
    place = pathlib.Path(repository) / "deploy" / "datadog"
    files = [(place / "dashboard.json", Dashboard)]
    files += [(path, Monitor) for path in sorted((place / "monitors").glob("*.json"))]
    assert len(files) >= 4, f"only {len(files)} files in {place}"
    refusals = 0
    for path, model in files:
        document = json.loads(path.read_text())
        try:
            read(document, model)
        except Refused as error:
            sys.exit(f"{path}: {error}")
        for other in spoilt(document, model):
            try:
                read(other, model)
            except Refused:
                refusals += 1
            else:
                sys.exit(f"{path}: the judge takes a spoilt copy, too")
    print(f"datadog-api-client takes {len(files)} files of deploy/datadog, and refuses {refusals} spoilt copies")


if __name__ == "__main__":
    main(sys.argv[1])
