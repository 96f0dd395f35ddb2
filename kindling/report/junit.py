"""JUnit XML: a session as a test suite, for CI systems that show those.

One test case per node that took part. Elements and attributes are those of the Jenkins xUnit
schema, which every common reader accepts.
"""

from __future__ import annotations

import datetime
import socket
from pathlib import Path
from xml.etree import ElementTree as Xml

from kindling.engine.notices import NodeStatus, NodeView, Notice, SessionEnded
from kindling.graph.outcome import FailureKind, Verdict
from kindling.report import words
from kindling.report.files import write_whole
from kindling.report.record import Record
from kindling.report.safetext import xml_text

__all__ = ["JUnitReporter", "junit_xml"]

_TAIL_LINES = 100


class JUnitReporter:
    """Collects a session and writes `path` when it ends.

    Raises (from `close` alone):
        HostError: The file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._record = Record(_TAIL_LINES)
        self._written = False

    def notice(self, notice: Notice) -> None:
        self._record.take(notice)

    def close(self) -> None:
        if not self._written:
            self._written = True
            write_whole(self._path, junit_xml(self._record))


def junit_xml(record: Record) -> bytes:
    """The whole document, UTF-8."""
    cases = [_case(view, record) for view in record.views if view.status is not NodeStatus.IDLE]
    if record.error:
        cases.insert(0, _broken_file(record))
    elif not cases and record.ended is not None and record.ended.error:
        cases.append(_broken_session(record, record.ended))
    seconds = record.ended.seconds if record.ended else max(0.0, record.now - record.started)
    started = datetime.datetime.fromtimestamp(record.started, datetime.UTC)
    totals = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": str(sum(case.find("error") is not None for case in cases)),
        "skipped": str(sum(case.find("skipped") is not None for case in cases)),
        "time": f"{seconds:.3f}",
    }
    suite = Xml.Element(
        "testsuite",
        {
            "name": f"kindling {record.command}".rstrip(),
            **totals,
            "timestamp": started.strftime("%Y-%m-%dT%H:%M:%S"),
            "hostname": xml_text(socket.gethostname()),
        },
    )
    properties = Xml.SubElement(suite, "properties")
    for name, value in (
        ("kindlingfile", record.kindlingfile),
        ("target", record.target),
        ("session", record.session),
    ):
        if value:
            Xml.SubElement(properties, "property", {"name": name, "value": xml_text(value)})
    suite.extend(cases)
    root = Xml.Element("testsuites", {"name": "kindling", **totals})
    root.append(suite)
    Xml.indent(root)
    document: str = Xml.tostring(root, "unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{document}\n'.encode()


def _case(view: NodeView, record: Record) -> Xml.Element:
    case = Xml.Element(
        "testcase",
        {
            "name": xml_text(view.id),
            "classname": xml_text(f"kindling.{view.resource or view.kind.value}"),
            "time": f"{view.seconds:.3f}",
        },
    )
    tail = "\n".join(record.tail(view.id, _TAIL_LINES))
    match view.status:
        case NodeStatus.FAILED if view.verdict is Verdict.CANCELLED:
            Xml.SubElement(case, "skipped", {"message": "cut off"})
        case NodeStatus.FAILED | NodeStatus.UNREADY:
            _add_failure(case, view, tail)
        case NodeStatus.HELD:
            why = words.hold_phrase(view.hold) if view.hold else "held"
            Xml.SubElement(case, "skipped", {"message": xml_text(why)})
        case NodeStatus.RUNNING:
            Xml.SubElement(case, "skipped", {"message": f"still {words.activity(view)}"})
        case _:
            pass
    if tail:
        Xml.SubElement(case, "system-out").text = xml_text(tail)
    return case


def _add_failure(case: Xml.Element, view: NodeView, tail: str) -> None:
    failure = view.failure
    summary = failure.summary if failure else words.status_word(view)
    bug = failure is not None and failure.kind is FailureKind.BUG
    element = Xml.SubElement(
        case,
        "error" if bug else "failure",
        {"message": xml_text(summary), "type": failure.kind.value if failure else "not-ready"},
    )
    lines = [f"{view.id}: {summary}"]
    if failure:
        lines += failure.details
    if view.where:
        lines.append(f"declared at {view.where}")
    if failure and failure.hint:
        lines.append(failure.hint)
    if tail and not (failure and failure.details):
        lines += ["the end of its log:", tail]
    element.text = xml_text("\n".join(lines))


def _broken_file(record: Record) -> Xml.Element:
    case = Xml.Element(
        "testcase",
        {"name": xml_text(record.kindlingfile), "classname": "kindling", "time": "0.000"},
    )
    message = record.error.splitlines()[0]
    element = Xml.SubElement(case, "error", {"message": xml_text(message), "type": "kindlingfile"})
    element.text = xml_text(record.error)
    return case


def _broken_session(record: Record, end: SessionEnded) -> Xml.Element:
    case = Xml.Element(
        "testcase",
        {
            "name": f"kindling {record.command}",
            "classname": "kindling",
            "time": f"{end.seconds:.3f}",
        },
    )
    message = end.error.splitlines()[0]
    element = Xml.SubElement(case, "error", {"message": xml_text(message), "type": "session"})
    element.text = xml_text(end.error)
    return case
