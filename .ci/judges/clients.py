"""The genuine clients of Slack and Datadog, pointed at the fakes that the tests judge by.

    clients.py SCENARIO ADDRESSES    ADDRESSES: JSON, as the test `judges::fakes_are_true` writes it

A fake is true where its answers content the client, or are told by it as the mistake that they are.
"""

import json
import sys
import time

from datadog_api_client import ApiClient, Configuration
from datadog_api_client.exceptions import ApiException
from datadog_api_client.v1.api.events_api import EventsApi as EventsV1
from datadog_api_client.v1.model.event_create_request import EventCreateRequest
from datadog_api_client.v2.api.events_api import EventsApi as EventsV2
from datadog_api_client.v2.model.event_create_request_payload import EventCreateRequestPayload
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler, ServerErrorRetryHandler
from slack_sdk.models.blocks import ContextBlock, HeaderBlock, MarkdownTextObject, SectionBlock
from slack_sdk.webhook import WebhookClient


def said(text):
    return MarkdownTextObject(text=text, verbatim=True)


BLOCKS = [
    HeaderBlock(text="Flag updated"),
    SectionBlock(text=said("*Ann* turned <https://flipt.example.com/|checkout> *ON*"), fields=[said("a"), said("b")]),
    ContextBlock(elements=[said("payments · <!date^1795356842^{time}|14:14 UTC>")]),
]
# Ours alone: the client would not let an invalid one out as a model.
INVALID = [{"type": "section", "text": {"type": "mrkdwn", "verbatim": True, "text": "x" * 3001}}]
TEXT = "Ann turned checkout ON"


def webhook(places, retries=()):
    return WebhookClient(places["webhook"], retry_handlers=list(retries))


def web(places, token=None, retries=()):
    return WebClient(token=token or places["token"], base_url=places["api"], retry_handlers=list(retries))


def timed(call):
    begun = time.monotonic()
    result = call()
    return result, time.monotonic() - begun


def failed(call):
    """What Slack's Web API said instead of ok."""
    try:
        call()
    except SlackApiError as error:
        return error.response
    raise AssertionError("the client is content with what should fail")


def slack_well(places):
    answer = webhook(places).send(text=TEXT, blocks=BLOCKS)
    assert (answer.status_code, answer.body) == (200, "ok"), answer.body
    time.sleep(1.05)
    client = web(places)
    assert client.auth_test()["ok"]
    answer = client.chat_postMessage(channel=places["channel"], text=TEXT, blocks=BLOCKS)
    assert answer["ok"] and answer["channel"] == places["channel"] and answer["message"]["text"] == TEXT, answer
    time.sleep(1.05)
    changed = client.chat_update(channel=places["channel"], ts=answer["ts"], text=TEXT + " again")
    assert changed["ts"] == answer["ts"], changed
    assert failed(lambda: client.chat_update(channel=places["channel"], ts="1.2", text=TEXT))["error"] == "message_not_found"


def slack_limited(places):
    """Two at once: the second waits for as long as it is told, by the client's own handler."""
    retries = [RateLimitErrorRetryHandler(max_retry_count=2)]
    assert webhook(places).send(text=TEXT).status_code == 200
    answer = webhook(places).send(text=TEXT)
    assert (answer.status_code, answer.body) == (429, "rate_limited") and answer.headers["retry-after"], answer.body
    answer, seconds = timed(lambda: webhook(places, retries).send(text=TEXT))
    assert answer.status_code == 200 and seconds >= 0.9, (answer.status_code, seconds)
    said = failed(lambda: web(places).chat_postMessage(channel=places["channel"], text=TEXT))
    assert (said.status_code, said["error"]) == (429, "ratelimited") and said.headers["Retry-After"], said
    answer, seconds = timed(lambda: web(places, retries=retries).chat_postMessage(channel=places["channel"], text=TEXT))
    assert answer["ok"] and seconds >= 0.9, seconds


def slack_archived(places):
    answer = webhook(places).send(text=TEXT)
    assert (answer.status_code, answer.body) == (410, "channel_is_archived")
    assert failed(lambda: web(places).chat_postMessage(channel=places["channel"], text=TEXT))["error"] == "is_archived"


def slack_revoked(places):
    answer = webhook(places).send(text=TEXT)
    assert (answer.status_code, answer.body) == (404, "no_service")
    assert failed(lambda: web(places).auth_test())["error"] == "token_revoked"


def slack_refused(places):
    """Wrong credentials, a wrong channel, wrong messages."""
    answer = WebhookClient(places["webhook"] + "x").send(text=TEXT)
    assert (answer.status_code, answer.body) == (403, "invalid_token")
    assert failed(lambda: web(places, token="xoxb-another").auth_test())["error"] == "invalid_auth"
    client = web(places)
    for arguments, word in [
        ({"channel": "C0000000009", "text": TEXT}, "channel_not_found"),
        ({"channel": places["channel"], "text": TEXT, "blocks": INVALID}, "invalid_blocks"),
        ({"channel": places["channel"], "text": "x" * 40001}, "msg_too_long"),
        ({"channel": places["channel"], "text": ""}, "no_text"),
    ]:
        assert failed(lambda: client.chat_postMessage(**arguments))["error"] == word, word
    for body, word in [({"text": TEXT, "blocks": INVALID}, "invalid_blocks"), ({"blocks": []}, "no_text")]:
        answer = webhook(places).send_dict(body)
        assert (answer.status_code, answer.body) == (400, word), answer.body


def slack_storm(places):
    retries = [ServerErrorRetryHandler(max_retry_count=2)]
    answer = webhook(places, retries).send(text=TEXT)
    assert (answer.status_code, answer.body) == (500, "server_error")
    try:
        web(places, retries=retries).chat_postMessage(channel=places["channel"], text=TEXT)
    except SlackApiError as error:
        assert error.response.status_code == 500
    else:
        raise AssertionError("the client is content with status 500")


def datadog(places, version, **changes):
    """The events API of a version, as Datadog's own client has it."""
    configuration = Configuration(api_key={"apiKeyAuth": places["api_key"], "appKeyAuth": places["app_key"]})
    name = places["datadog"].removeprefix("http://")
    configuration.server_index = 1
    configuration.server_operation_index = {"v1.create_event": 1, "v2.create_event": 1}
    configuration.server_variables = {"name": name, "protocol": "http"}
    for key, value in changes.items():
        setattr(configuration, key, value)
    return (EventsV1 if version == 1 else EventsV2)(ApiClient(configuration))


def change(**changes):
    attributes = {
        "category": "change",
        "title": TEXT,
        "message": "enabled false → true",
        "integration_id": "custom-events",
        "tags": ["env:production", "service:checkout-api"],
        "attributes": {
            "changed_resource": {"type": "feature_flag", "name": "checkout"},
            "author": {"type": "user", "name": "ann@example.com"},
            "prev_value": {"enabled": False},
            "new_value": {"enabled": True},
        },
    }
    return EventCreateRequestPayload(_check_type=False, data={"type": "event", "attributes": attributes | changes})


def plain(**changes):
    return EventCreateRequest(title=TEXT, text="A text message.", **changes)


def refused(call):
    """The status, and the errors of the body as the client hands them on."""
    try:
        call()
    except ApiException as error:
        body = error.body if isinstance(error.body, dict) else error.body.to_dict() if hasattr(error.body, "to_dict") else json.loads(error.body)
        return error.status, body["errors"]
    raise AssertionError("the client is content with what should fail")


def datadog_well(places):
    answer = datadog(places, 2).create_event(body=change())
    assert not answer._unparsed and answer.data.attributes.attributes.evt.uid, answer
    assert str(answer.links._self if hasattr(answer.links, "_self") else answer.links["self"]).startswith("https://app.datadoghq.com/")
    answer = datadog(places, 1).create_event(body=plain(date_happened=int(time.time()) - 3600, tags=["env:production"]))
    assert not answer._unparsed and answer.status == "ok" and answer.event.title == TEXT, answer


def datadog_keys(places):
    """The wrong key, and the missing application key."""
    wrong = {"api_key": {"apiKeyAuth": "wrong", "appKeyAuth": places["app_key"]}}
    status, errors = refused(lambda: datadog(places, 2, **wrong).create_event(body=change()))
    assert status == 403 and errors[0]["title"] == "Forbidden", errors
    assert refused(lambda: datadog(places, 1, **wrong).create_event(body=plain())) == (403, ["Forbidden"])
    without = {"api_key": {"apiKeyAuth": places["api_key"], "appKeyAuth": "wrong"}}
    assert refused(lambda: datadog(places, 2, **without).create_event(body=change()))[0] == 403


def datadog_invalid(places):
    for changes, word in [
        ({"category": "invalid"}, 'value must be one of: ["alert", "change"].'),
        ({"tags": ["Not A Tag"]}, "is no tag"),
        ({"timestamp": "2020-01-01T00:00:00Z"}, "Event too far in the past"),
    ]:
        status, errors = refused(lambda: datadog(places, 2).create_event(body=change(**changes)))
        assert status == 400 and errors[0]["status"] == "400" and word in errors[0]["detail"], errors
    # JSON that calls itself text, as recorded.
    status, errors = refused(lambda: datadog(places, 1).create_event(body=plain(date_happened=1)))
    assert (status, errors) == (400, ["Event too far in the past"]), errors


def datadog_limited(places):
    """Two a window of two seconds: the third waits for the reset, by the client's own retries."""
    for version, body in ((2, change()), (1, plain())):
        api = datadog(places, version)
        for _ in range(2):
            api.create_event(body=body)
        status, errors = refused(lambda: api.create_event(body=body))
        assert status == 429 and isinstance(errors[0], str), errors
        patient = datadog(places, version, enable_retry=True, max_retries=2)
        answer, seconds = timed(lambda: patient.create_event(body=body))
        assert answer and seconds >= 0.9, seconds
        time.sleep(2.05)


def datadog_storm(places):
    for version, body in ((2, change()), (1, plain())):
        assert refused(lambda: datadog(places, version).create_event(body=body))[0] == 500


def main(scenario, addresses):
    scenarios = {name: value for name, value in globals().items() if name.startswith(("slack_", "datadog_"))}
    scenarios[scenario](json.loads(addresses))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
