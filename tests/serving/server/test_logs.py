"""Lines of the development server's log."""

import json
import logging
import sys

from zoo.serving.server.logs import _Formatter


def record(**extra):
    return logging.makeLogRecord({"levelname": "INFO", "msg": "request", "created": 0.0, "msecs": 7, **extra})


def test_text_stays_on_one_line():
    line = _Formatter(as_json=False).format(record(model="x\n2026 info forged", seconds=0.5))
    assert line == "1970-01-01T00:00:00.007Z info    request  model='x\\n2026 info forged'  seconds=0.5"


def test_json_holds_everything():
    event = json.loads(_Formatter(as_json=True).format(record(model="x\n")))
    assert event == {"time": "1970-01-01T00:00:00.007Z", "level": "info", "event": "request", "model": "x\n"}


def test_a_fault_comes_with_its_traceback():
    try:
        raise KeyError("lost")
    except KeyError:
        fault = record(exc_info=sys.exc_info())
    assert "test_logs.py" in json.loads(_Formatter(as_json=True).format(fault))["traceback"]
    assert "\nTraceback (most recent call last)" in _Formatter(as_json=False).format(fault)
