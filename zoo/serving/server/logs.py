"""Structured logs: one line per event, as text or as JSON, on standard error."""

import json
import logging
import time

_PLAIN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Formatter(logging.Formatter):
    def __init__(self, as_json):
        super().__init__()
        self._as_json = as_json

    def format(self, record):
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        event = {"time": moment, "level": record.levelname.lower(), "event": record.getMessage()}
        event |= {key: value for key, value in vars(record).items() if key not in _PLAIN}
        if record.exc_info:
            kind, error, _ = record.exc_info
            event["error"] = f"{kind.__name__}: {error}"
            event["traceback"] = self.formatException(record.exc_info)
        if self._as_json:
            return json.dumps(event, default=str)
        moment, level, text = event.pop("time"), event.pop("level"), event.pop("event")
        trace = event.pop("traceback", "")
        pairs = "".join(f"  {key}={_on_one_line(value)}" for key, value in event.items())
        return f"{moment} {level:7} {text}{pairs}" + (f"\n{trace}" if trace else "")


def _on_one_line(value):
    """A value as text; what a client sent cannot begin a line of its own."""
    text = str(value)
    return text if text.isprintable() else repr(text)


def configure(log_format):
    """Send all logs of this process to standard error.

    Args:
        log_format: "text" or "json".
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter(log_format == "json"))
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # what is wrong with a request, its client is told
