"""The lines of Flower's log: which of them concern nobody, and how the others read.

What the commands learn from Flower's texts is in `scripts.processes.flower_cli`.
"""

import re
from dataclasses import dataclass

_RAISED = re.compile(r"(?:Simulation|ServerApp) failed with exception: ")

# What concerns nobody: level ("" where Flower prints and does not log), the text in full, and
# why it is dropped. A line that is not here is shown. Texts as of flwr 1.41 and 1.42.
_REPEATED = r"(?: \[repeated \d+x across cluster\].*)?"  # Ray tells equal lines once
_DROPPED: tuple[tuple[str, str, str], ...] = (
    ("", r"Using SuperLink: \S+ \(\S+\)", "the command made this SuperLink, and ends it"),
    ("", r"Successfully started run \d+(?: in federation \S+)?", "only that SuperLink knows it"),
    ("", r"Successfully installed \S+ to \S+", "a temporary copy of the application"),
    ("INFO", r"Starting logstream for run_id `\d+`", "it is what the user is reading"),
    ("INFO", r"Exiting logstream", "the command says itself that it stops"),
    ("", r"Task stopped by user\.", "the command says itself that it stops"),
    ("INFO", r"Starting Flower Simulation", "the command says itself what it starts"),
    ("INFO", r"Start `flwr-serverapp` process", "the command says itself what it starts"),
    (
        "WARNING",
        r"Since flwr 1\.32, default simulated SuperNodes changed from 10 to 2\.",
        "the command always gives the number",
    ),
    ("INFO", r"Federation `\S+` \(\d+ simulated SuperNodes\)", "the command says the number"),
    (
        "INFO",
        r"To change federation size, use the following command:",
        "the option is --participants, and Flower's would not reach this SuperLink",
    ),
    (
        "INFO",
        r"\s*flwr federation simulation-config \S+ <superlink> --num-supernodes <N>",
        "belongs to the line before",
    ),
    (
        "WARNING",
        r"Manually terminating ClientAppActor" + _REPEATED,
        "every simulation that was completed ends with it",
    ),
    # The three lines that end an app which raised; its reason is in the lines before, and the
    # command's last line repeats it.
    ("ERROR", r"Exit Code: (?:201|700)", "the command has an exit status of its own"),
    (
        "",
        r"An unhandled exception occurred (?:in the ServerApp|when running the simulation)\.",
        "it does not say which",
    ),
    (
        "",
        r"For more information, visit: <\S+/ref-exit-codes/(?:201|700)\.html>",
        "the page says only that the app raised",
    ),
    # Of a SuperNode and a SuperLink, whose last lines are shown when one has ended.
    ("INFO", r"\[RUN \d+(?:, ROUND \d+)?\]", "heads the lines about a message"),
    ("INFO", r"(?:Receiving|Sending): \S+ message \(ID: [0-9a-f]+\)", "one for every message"),
    ("INFO", r"(?:Received|Sent) successfully", "one for every message"),
    ("INFO", r"Start `flwr-clientapp` process", "one for every message"),
    ("INFO", r"\[Fleet\.PushMessages\] Push replies from node_id=\d+", "one for every message"),
    ("INFO", r"\[Fleet\.Get(?:Run|Fab)\] Requesting .*", "one for every node"),
    ("", r"\S+Z INFO \[uvicorn\.access\] .* 200", "one for every request that went well"),
    ("INFO", r"\s*", "spacing between Flower's own lines"),
)
_UNWANTED = tuple((level, re.compile(text)) for level, text, _ in _DROPPED)

# CSI and OSC sequences, other escapes, and control characters but for the tab.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0a-\x1f\x7f-\x9f]"
)
# Flower's logger writes the level's name and as many spaces as align what follows.
_HEAD = re.compile(r"(\(\w+ pid=\d+(?:, ip=[^)]+)?\) )?(DEBUG|INFO|WARNING|ERROR|CRITICAL) :( *)")
_MARGIN = 10  # the level's name and the spaces behind its colon
_COLOURS = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m"}
_RESET = "\x1b[0m"


@dataclass(frozen=True)
class LogLine:
    """A line of a run's log.

    Attributes:
        raw: As it came, without its end.
        level: Its level, by Flower's logger; "" if it has none.
        source: The worker that logged it, as Ray puts it in front; "" for the server.
        text: What it says, without colours.
    """

    raw: str
    level: str
    source: str
    text: str

    @classmethod
    def read(cls, line: str) -> "LogLine":
        """Take a line apart."""
        raw = line.rstrip("\r\n")
        text = plain(raw)
        head = _HEAD.match(text)
        if head is None:
            return cls(raw, "", "", text)
        level = head[2]
        indent = head[3][_MARGIN - len(level) :]
        return cls(raw, level, head[1] or "", indent + text[head.end() :])

    @property
    def concerns_user(self) -> bool:
        """Whether it is not one of Flower's lines that concern nobody."""
        return not any(
            level == self.level and text.fullmatch(self.text) for level, text in _UNWANTED
        )

    @property
    def empty(self) -> bool:
        """Whether there is nothing on it at all."""
        return not self.level and not self.text.strip()

    def shown(self, colour: bool = False) -> str:
        """Return how it is shown: a level in front only where it is more than information.

        Args:
            colour: Whether with colours, the line's own included.
        """
        if not self.level:
            return _only_colours(self.raw) if colour else self.text
        if self.level == "INFO":
            return self.source + self.text
        level = self.level
        if colour:
            level = f"{_COLOURS.get(level, '')}{level}{_RESET}"
        return f"{self.source}{level}: {self.text}".rstrip()


class LineFilter:
    """Decides line by line what is shown of a log."""

    def __init__(self) -> None:
        self._dropped = False

    def passes(self, line: LogLine) -> bool:
        """Say whether a line is shown: one that concerns the user.

        With a line that is dropped go the empty ones behind it, which set it off.
        """
        self._dropped = not line.concerns_user or (self._dropped and line.empty)
        return not self._dropped


def readable(log: str) -> list[str]:
    """Return the lines of a log that are shown, without colours."""
    line_filter = LineFilter()
    lines = map(LogLine.read, log.splitlines())
    return [line.shown() for line in lines if line_filter.passes(line)]


def failure_reason(details: str) -> str:
    """Return what Flower's details of a run that failed say, without what the status says."""
    return _RAISED.sub("", details, count=1)


def plain(line: str) -> str:
    """Return a line without colours and without what else moves a terminal's cursor."""
    return _CONTROL.sub("", line)


def _only_colours(line: str) -> str:
    parts, position = [], 0
    for found in _COLOUR.finditer(line):
        parts += [plain(line[position : found.start()]), found[0]]
        position = found.end()
    return "".join([*parts, plain(line[position:])])
