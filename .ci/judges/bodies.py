"""What others' libraries say of bodies for Slack and Datadog.

    bodies.py DIRECTORY    DIRECTORY: what the test `bodies::bodies_are_written` has written

Each judge must refuse what is planted, before it is asked about the bodies.
"""

import copy
import json
import pathlib
import re
import sys

import jsonschema
from datadog_api_client.configuration import Configuration
from datadog_api_client.model_utils import ModelComposed, ModelNormal, validate_and_convert_types
from datadog_api_client.v1.model.event_create_request import EventCreateRequest
from datadog_api_client.v2.model.event_create_request_payload import EventCreateRequestPayload
from slack_sdk.models.blocks import Block

SCHEMAS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "schemas"

# Nothing but links with a label and dates stands in angle brackets.
SEQUENCE = re.compile(r"<([^<>]*)>")
OWN = re.compile(r"(https?://[^|\s]+|!date\^\d+\^[^|]+)\|.+", re.DOTALL)
OVERRIDES = re.compile("[\u202a-\u202e\u2066-\u2069]")

SLACK = {
    "text": "Ann turned checkout ON",
    "blocks": [
        {"type": "section", "text": {"type": "mrkdwn", "verbatim": True, "text": "*Ann* turned *checkout* *ON*"}},
        {"type": "context", "elements": [{"type": "mrkdwn", "verbatim": True, "text": "payments &amp; friends"}]},
    ],
    "unfurl_links": False,
    "unfurl_media": False,
}
CHANGE = {
    "data": {
        "type": "event",
        "attributes": {
            "category": "change",
            "title": "checkout turned ON",
            "tags": ["env:production"],
            "attributes": {"changed_resource": {"type": "feature_flag", "name": "checkout"}},
        },
    }
}
PLAIN = {"title": "checkout turned ON", "text": "by Ann", "tags": ["env:production"]}


def schema(name):
    return jsonschema.Draft202012Validator(json.loads((SCHEMAS / name).read_text()))


WEBHOOK_SCHEMA = schema("slack/incoming-webhook.schema.json")
V1_SCHEMA = schema("datadog/dd-v1-event-create-request.strict.schema.json")
V2_SCHEMA = schema("datadog/dd-v2-event-create-request.strict.schema.json")


def slack_schema(body):
    # A bot names its channel; for the rest its message is that of a webhook.
    body = dict(body)
    channel = body.pop("channel", "C1")
    assert isinstance(channel, str) and channel
    WEBHOOK_SCHEMA.validate(body)


def slack_sdk(body):
    blocks = Block.parse_all(body["blocks"])
    assert None not in blocks and len(blocks) == len(body["blocks"]), "a block of no known type"
    assert [block.to_dict() for block in blocks] == body["blocks"], "what slack_sdk does not know is lost on the way"


def texts(value):
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "text" and isinstance(inner, str):
                yield inner
            else:
                yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def slack_mentions(body):
    for text in texts(body):
        for inside in SEQUENCE.findall(text):
            assert OWN.fullmatch(inside), f"<{inside}>"
        rest = SEQUENCE.sub("", text)
        assert not set(rest) & set("<>"), rest
        assert not re.search("&(?!(amp|lt|gt);)", text), text
        assert not OVERRIDES.search(text), text
        assert not any(ord(sign) < 32 and sign != "\n" or 127 <= ord(sign) < 160 for sign in text), text


def parsed(value):
    """Whether the client knows every part of it: what it does not, it only marks."""
    if isinstance(value, (ModelNormal, ModelComposed)):
        assert value._unparsed is False, value
        for inner in value._data_store.values():
            parsed(inner)
        instance = getattr(value, "_composed_instances", None) or []
        for inner in instance:
            parsed(inner)
    elif getattr(value, "_unparsed", False):
        raise AssertionError(value)
    elif isinstance(value, dict):
        for inner in value.values():
            parsed(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            parsed(inner)


def client(model):
    def datadog_api_client(body):
        parsed(validate_and_convert_types(copy.deepcopy(body), (model,), ["body"], True, True, Configuration()))

    return datadog_api_client


client_v1 = client(EventCreateRequest)
client_v2 = client(EventCreateRequestPayload)


def with_attribute(**changes):
    body = copy.deepcopy(CHANGE)
    body["data"]["attributes"].update(changes)
    return body


def of_change(**changes):
    return with_attribute(attributes=CHANGE["data"]["attributes"]["attributes"] | changes)


def said(text):
    return SLACK | {"blocks": [{"type": "section", "text": {"type": "mrkdwn", "verbatim": True, "text": text}}]}


ELEMENT = SLACK["blocks"][1]["elements"][0]

# Of each file: a good body, and the judges with what each must refuse.
FILES = {
    "slack.ndjson": (
        SLACK,
        {
            slack_schema: [SLACK | {"blocks": SLACK["blocks"] * 26}, SLACK | {"as_user": True}, said("<!channel>"), said("a & b")],
            slack_sdk: [
                said("x" * 3001),
                SLACK | {"blocks": [{"type": "context", "elements": [ELEMENT] * 11}]},
                SLACK | {"blocks": [{"type": "sektion"}]},
                SLACK | {"blocks": [SLACK["blocks"][0] | {"colour": "red"}]},
            ],
            slack_mentions: [said("<!here>"), said("<@U1>"), said("a > b"), said("\u202eb"), SLACK | {"text": "<!channel>"}],
        },
    ),
    "datadog_v2.ndjson": (
        CHANGE,
        {
            V2_SCHEMA.validate: [
                with_attribute(title="x" * 501),
                with_attribute(tags=[]),
                with_attribute(category="alert"),
                of_change(prev_value=None),
                of_change(other=1),
            ],
            client_v2: [
                with_attribute(category="deployment"),
                with_attribute(title="x" * 501),
                of_change(author={"type": "robot", "name": "x"}),
                of_change(changed_resource={"type": "segment", "name": "x"}),
            ],
        },
    ),
    "datadog_v1.ndjson": (
        PLAIN,
        {
            V1_SCHEMA.validate: [PLAIN | {"text": "x" * 4001}, PLAIN | {"message": "x"}, PLAIN | {"priority": "high"}],
            client_v1: [PLAIN | {"text": "x" * 4001}, PLAIN | {"alert_type": "red"}, PLAIN | {"date_happened": "1"}],
        },
    ),
}


def refuses(judge, body):
    try:
        judge(body)
    except Exception:  # noqa: BLE001: each library has its own
        return True
    return False


def name(judge):
    return "the strict schema" if judge in (V1_SCHEMA.validate, V2_SCHEMA.validate) else judge.__name__


def main(directory):
    for file, (good, judges) in FILES.items():
        for judge, wrong in judges.items():
            judge(good)
            for body in wrong:
                assert refuses(judge, body), f"{name(judge)} takes what is wrong: {json.dumps(body)[:300]}"
        count = 0
        with open(pathlib.Path(directory, file), encoding="utf-8") as lines:
            for count, line in enumerate(lines, 1):
                body = json.loads(line)
                for judge in judges:
                    try:
                        judge(body)
                    except Exception as error:
                        sys.exit(f"{file}, line {count}, by {name(judge)}: {error}\n{line[:2000]}")
        assert count, f"{file} is empty"
        planted = sum(map(len, judges.values()))
        print(f"{count} bodies of {file} are right by {len(judges)} judges, which refuse {planted} planted ones")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
