//! Whether real servers serve: which checks there are, when each is made, and what their results mean. Pure: the agent makes
//! the checks and passes the results in.
//!
//! `check` names a check, `failure` is how one can fail, `state` counts the results of one, `checks` has all of a node and
//! says when each is due, `path_probe` has the frames of the check of the direct path, `dns` the messages of one by DNS.

mod check;
mod checks;
mod dns;
mod failure;
mod path;
mod path_probe;
mod state;

pub use check::{Check, Target};
pub use checks::{Checks, Due, Wanted};
pub use dns::{DnsQuery, SERVFAIL};
pub use failure::Failure;
pub use path::Path;
pub use path_probe::{Answer, AnswerKind, Probe, SOURCE_PORTS};
pub use state::{Down, Verdict};

/// What a decision knows of the real servers' health.
#[derive(Clone, Copy, Debug)]
pub enum Health<'a> {
    /// Nothing of its own, as in a forecast: all count as healthy but those that the node's agent has reported.
    Assumed,
    /// What the checks have found so far.
    Checked(&'a Checks),
}

impl Health<'_> {
    /// What is known by this check.
    pub fn verdict(self, check: &Check) -> Verdict {
        match self {
            Self::Assumed => Verdict::Up,
            Self::Checked(checks) => checks.verdict(check),
        }
    }
}
