"""Suspect cases of a set, each with what was found and what to do about it."""

from spineseg.data.audit.findings import Finding, Severity
from spineseg.data.audit.run import Audit, audit

__all__ = ["Audit", "Finding", "Severity", "audit"]
