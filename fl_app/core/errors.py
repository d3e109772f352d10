"""Mistakes that a user can mend; each is told in a sentence, without a traceback."""

import logging


class UserError(Exception):
    """Something the user can put right; the message says what and how."""


class ConfigError(UserError):
    """A run config, or a combination of its values, that cannot be run."""


class DataError(UserError):
    """Data that is missing, damaged, or not what the run config says."""


class _InASentence(logging.Filter):
    """Flower logs whatever ends an app with its traceback; a `UserError` needs none."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, UserError):
            record.msg, record.args, record.exc_info = "run stopped: %s", (error,), None
        return True


def tell_user_errors_in_a_sentence(logger_name: str = "flwr") -> None:
    """Make a logger tell a `UserError` without its traceback."""
    logger = logging.getLogger(logger_name)
    if not any(isinstance(known, _InASentence) for known in logger.filters):
        logger.addFilter(_InASentence())


class ResumeError(UserError):
    """A run directory that cannot be continued, or not by this run config."""
