"""A pytest plugin for the build machine: a test that was skipped counts as one that failed."""

import pytest

_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _skipped:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _skipped:
        terminalreporter.section("skipped, which is not allowed here", red=True)
        for name in _skipped:
            terminalreporter.line(name)


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    # A test that is expected to fail reports itself as skipped too, and has done its work.
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)
