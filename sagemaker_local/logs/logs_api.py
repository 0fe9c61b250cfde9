"""CloudWatch Logs' actions on the streams that containers write to (``log_store``). Everything else of CloudWatch Logs is moto's.

The answers are those of the API reference of DescribeLogStreams, GetLogEvents and FilterLogEvents.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sagemaker_local.errors import AwsError, NotImplementedHere
from sagemaker_local.logs.log_store import MOST_EVENTS

if TYPE_CHECKING:
    from sagemaker_local.logs.log_store import LogStore

JsonObject = dict[str, Any]

_FOREVER_MS = 1 << 62
_STREAMS_A_PAGE = 50
_NOT_EMULATED = frozenset(
    {"StartQuery", "PutSubscriptionFilter", "PutMetricFilter", "CreateExportTask", "StartLiveTail", "GetLogRecord"}
)
"""What moto answers from its own streams, which are empty where containers write."""


def group_of(request: JsonObject) -> str:
    """Return the log group that a request names, by name or by ARN; empty when it names none, or several.

    >>> group_of({"logGroupIdentifier": "arn:aws:logs:us-east-1:123456789012:log-group:/aws/sagemaker/ProcessingJobs"})
    '/aws/sagemaker/ProcessingJobs'
    """
    return str(request.get("logGroupName") or request.get("logGroupIdentifier", "").partition(":log-group:")[2] or "")


def answers(store: LogStore, region: str, action: str, request: JsonObject) -> bool:
    """Return whether an action is on a container's log group and ours to answer.

    Raises:
        NotImplementedHere: it is, and is not emulated.
    """
    if not store.has_group(region, group_of(request)):
        return False
    if action in _NOT_EMULATED:
        raise NotImplementedHere(f"{action} on the log groups of containers is not emulated.")
    return action in _ACTIONS


def run(store: LogStore, region: str, account_id: str, action: str, request: JsonObject) -> JsonObject:
    """Answer an action.

    Raises:
        AwsError: ``ResourceNotFoundException``, ``ResourceAlreadyExistsException``, ``InvalidParameterException``.
    """
    return _ACTIONS[action](store, region, account_id, request)


def _describe_log_streams(store: LogStore, region: str, account_id: str, request: JsonObject) -> JsonObject:
    group, by_time = group_of(request), request.get("orderBy") == "LastEventTime"
    found = store.streams(
        region, group, request.get("logStreamNamePrefix", ""), by_time=by_time, descending=bool(request.get("descending"))
    )
    start, limit = _position(request.get("nextToken")), request.get("limit") or _STREAMS_A_PAGE
    answer: JsonObject = {"logStreams": [_stream(region, account_id, group, row) for row in found[start : start + limit]]}
    if start + limit < len(found):
        answer["nextToken"] = str(start + limit)
    return answer


def _stream(region: str, account_id: str, group: str, row: Any) -> JsonObject:
    times = {"firstEventTimestamp": row["first_ms"], "lastEventTimestamp": row["last_ms"], "lastIngestionTime": row["last_ms"]}
    return {
        "arn": f"arn:aws:logs:{region}:{account_id}:log-group:{group}:log-stream:{row['name']}",
        "logStreamName": row["name"],
        "creationTime": row["created_ms"],
        "storedBytes": row["bytes"],
        **{name: value for name, value in times.items() if value is not None},
    }


def _get_log_events(store: LogStore, region: str, account_id: str, request: JsonObject) -> JsonObject:
    """Return a page of a stream: from its end backwards unless ``startFromHead``. At an end, the token leads to where one is."""
    stream = _named_stream(store, region, request)
    span, limit = _span(request), min(request.get("limit") or MOST_EVENTS, MOST_EVENTS)
    count = store.count(stream, *span)
    kind, _, place = str(request.get("nextToken") or "").partition("/")
    if kind == "f":
        start, end = _position(place), _position(place) + limit
    elif kind == "b":
        start, end = max(0, _position(place) - limit), _position(place)
    elif request.get("startFromHead"):
        start, end = 0, limit
    else:
        start, end = max(0, count - limit), count
    rows = store.events(stream, *span, start, max(0, end - start))
    events = [{"timestamp": row["at_ms"], "message": row["message"], "ingestionTime": row["came_ms"]} for row in rows]
    return {"events": events, "nextForwardToken": f"f/{start + len(rows):056d}", "nextBackwardToken": f"b/{start:056d}"}


def _filter_log_events(store: LogStore, region: str, account_id: str, request: JsonObject) -> JsonObject:
    # deferred: moto costs 0.5 s, and reads its settings when it is imported
    from moto.logs.utils import EventMessageFilter

    wanted, prefix = request.get("logStreamNames"), request.get("logStreamNamePrefix", "")
    names = {row["id"]: row["name"] for row in store.streams(region, group_of(request), prefix)}
    names = {number: name for number, name in names.items() if not wanted or name in wanted}
    matches = EventMessageFilter(request.get("filterPattern", "")).matches
    limit, offset = min(request.get("limit") or MOST_EVENTS, MOST_EVENTS), _position(request.get("nextToken"))
    events: list[JsonObject] = []
    for row in store.events_of(names, *_span(request), offset) if names else ():
        if len(events) == limit:
            return {"events": events, "searchedLogStreams": [], "nextToken": str(offset)}
        offset += 1
        if matches(row["message"]):
            event = {"logStreamName": names[row["stream"]], "eventId": f"{row['id']:056d}", "message": row["message"]}
            events.append({**event, "timestamp": row["at_ms"], "ingestionTime": row["came_ms"]})
    return {"events": events, "searchedLogStreams": []}


def _create_log_stream(store: LogStore, region: str, account_id: str, request: JsonObject) -> JsonObject:
    if not store.create_stream(region, group_of(request), request["logStreamName"]):
        raise AwsError("ResourceAlreadyExistsException", "The specified log stream already exists")
    return {}


def _put_log_events(store: LogStore, region: str, account_id: str, request: JsonObject) -> JsonObject:
    events = [(int(event["timestamp"]), str(event["message"])) for event in request["logEvents"]]
    store.put(_named_stream(store, region, request), events)
    return {"nextSequenceToken": f"{time.time_ns():056d}"}


def _delete_log_stream(store: LogStore, region: str, account_id: str, request: JsonObject) -> JsonObject:
    _named_stream(store, region, request)
    store.delete(region, group_of(request), request["logStreamName"])
    return {}


def _named_stream(store: LogStore, region: str, request: JsonObject) -> int:
    found = store.stream(region, group_of(request), request["logStreamName"])
    if found is None:
        raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")
    return found


def _span(request: JsonObject) -> tuple[int, int]:
    return int(request.get("startTime") or 0), int(request.get("endTime") or _FOREVER_MS)


def _position(token: str | None) -> int:
    try:
        return int(token or 0)
    except ValueError:
        raise AwsError("InvalidParameterException", "The specified nextToken is invalid.") from None


_ACTIONS: dict[str, Callable[[LogStore, str, str, JsonObject], JsonObject]] = {
    "DescribeLogStreams": _describe_log_streams,
    "GetLogEvents": _get_log_events,
    "FilterLogEvents": _filter_log_events,
    "CreateLogStream": _create_log_stream,
    "PutLogEvents": _put_log_events,
    "DeleteLogStream": _delete_log_stream,
}
