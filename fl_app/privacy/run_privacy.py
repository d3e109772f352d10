"""Differential privacy on the server: its parts, the file of its ledger, what a run says of it.

See `docs/privacy.md` for the argument.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from logging import INFO, WARNING
from pathlib import Path
from typing import Any

from flwr.common.logger import log

from fl_app.core.atomic_io import write_atomically
from fl_app.core.errors import ResumeError, UserError
from fl_app.core.run_config import RunConfig
from fl_app.privacy.noise_calibration import noise_multiplier, planned_participants
from fl_app.results.records import RoundReport
from strategies.core.model_spec import ModelSpec
from strategies.privacy.accountant import PrivacyLedger
from strategies.privacy.adaptive_clipping import AdaptiveClip
from strategies.privacy.gaussian_mean import PrivateMean

LEDGER = "privacy.json"
_COVERS = (
    "participants: the global models hardly change if one participant's deltas are left out of "
    "all sums; not covered is who replied, nor what participants report of their evaluation"
)


class LedgerError(UserError):
    """A privacy ledger that cannot be saved."""


@dataclass(frozen=True)
class Privacy:
    """Differential privacy of a run, on the server.

    Attributes:
        config: The run config, with privacy on.
        mean: The aggregator, with the ledger.
    """

    config: RunConfig
    mean: PrivateMean

    @classmethod
    def open(
        cls, config: RunConfig, directory: Path, history: Sequence[RoundReport], resumed: bool
    ) -> "Privacy | None":
        """Set privacy up, where it is on; the ledger of a resumed run goes on as it was left.

        Args:
            config: The run config.
            directory: Where the ledger lies.
            history: The rounds so far.
            resumed: Whether there has to be a ledger.

        Raises:
            ResumeError: If the ledger is missing, damaged, or older than the history.
            LedgerError: If it cannot be written.
        """
        if config.privacy == "none":
            return None
        ledger = _open_ledger(directory / LEDGER, config, resumed)
        known = [report.epsilon for report in history if report.epsilon is not None]
        if known and ledger.epsilon() < known[-1] * (1 - 1e-9):
            raise ResumeError(
                f"resume: {directory / LEDGER} has epsilon {ledger.epsilon():.3g}, the history "
                f"{known[-1]:.3g}: it is older, and what was spent since is not in it"
            )
        multiplier, planned = noise_multiplier(config), planned_participants(config)
        adaptive = None
        if config.adaptive_clip_quantile > 0:
            adaptive = AdaptiveClip(
                config.adaptive_clip_quantile, config.adaptive_clip_rate, planned, multiplier
            )
        return cls(
            config,
            PrivateMean(
                clip_norm=config.clip_norm,
                noise_multiplier=multiplier,
                num_planned=planned,
                ledger=ledger,
                adaptive=adaptive,
                participants_add_noise=config.privacy == "distributed",
            ),
        )

    @property
    def budget(self) -> float | None:
        """The largest epsilon that may be spent, if there is a limit."""
        return self.mean.ledger.budget

    def announce(self, model: ModelSpec) -> None:
        """Tell what is protected, what is not, and what of a model takes noise badly."""
        config, mean = self.config, self.mean
        line = (
            "privacy: %s noise of multiplier %.4g on a clip norm of %.4g; runs are not repeatable"
        )
        log(INFO, line, config.privacy, mean.noise_multiplier, mean.clip_norm)
        if config.fraction_evaluate > 0:
            log(
                WARNING,
                "what participants report of their evaluation is not protected; set "
                "fraction-evaluate = 0.0 to do without",
            )
        if model.statistics:
            line = (
                "statistics of the data travel, and get noise: %s; a variance may become negative. "
                "Prefer a model without, for instance with GroupNorm for BatchNorm"
            )
            log(WARNING, line, ", ".join(model.statistics))

    def summary(self) -> dict[str, Any]:
        """Return what the summary says of privacy."""
        mean = self.mean
        return {
            "mode": self.config.privacy,
            "epsilon": mean.ledger.epsilon(),
            "delta": mean.ledger.delta,
            "budget": mean.ledger.budget,
            "noise_multiplier": mean.noise_multiplier,
            "clip_norm": mean.clip_norm,
            "covers": _COVERS,
            "repeatable": False,
        }


def _open_ledger(path: Path, config: RunConfig, resumed: bool) -> PrivacyLedger:
    def save(text: str) -> None:
        try:
            write_atomically(path, text.encode())
        except OSError as error:
            raise LedgerError(
                f"{path} cannot be written ({error.strerror}), so nothing may be released; make "
                "room or put its permissions right, and resume"
            ) from error

    saved = None
    if resumed:
        try:
            saved = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ResumeError(
                f"resume: {path}, which knows how much privacy is spent, cannot be read: {error}"
            ) from error
    try:
        return PrivacyLedger(config.privacy_delta, save, saved, config.target_epsilon or None)
    except ValueError as error:
        raise ResumeError(f"resume: {path}: {error}") from error
