//! One line of the preflight.

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Level {
    /// As it should be.
    Pass,
    /// It works, with a trap or a limit.
    Warn,
    /// It cannot work.
    Fail,
}

/// One line of the preflight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct CheckResult {
    pub level: Level,
    /// What was looked at, in one word.
    pub check: &'static str,
    /// What was found.
    pub found: String,
    /// What to do; empty where nothing is to be done.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fix: String,
}

pub(super) fn finding(
    level: Level,
    check: &'static str,
    found: impl Into<String>,
    fix: impl Into<String>,
) -> CheckResult {
    CheckResult {
        level,
        check,
        found: found.into(),
        fix: fix.into(),
    }
}

pub(super) fn pass(check: &'static str, found: impl Into<String>) -> CheckResult {
    finding(Level::Pass, check, found, "")
}
