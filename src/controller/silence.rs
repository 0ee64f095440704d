//! Whether what a node reported last may be no longer so: one answer for statuses and subcommands.

use std::{fmt, time::Duration};

use super::heartbeats::AgentState;
use crate::model::Node;

/// Why nothing new is heard of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Its kubelet does not report.
    Kubelet,
    /// Its agent does not renew its heartbeat: for how long, if that is known.
    Agent(Option<Duration>),
}

/// Why nothing new is heard of `node`; `None` if its report is up to date, as far as is known. A silent kubelet comes
/// first, because with the machine its agent is gone as well.
pub fn silence(
    node: Option<&Node>,
    agent: AgentState,
    unchanged: Option<Duration>,
) -> Option<Silence> {
    if node.is_some_and(|node| node.silent) {
        return Some(Silence::Kubelet);
    }
    match agent {
        AgentState::Silent => Some(Silence::Agent(unchanged)),
        AgentState::Alive | AgentState::Unheard => None,
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubelet => f.write_str("its kubelet is silent: is the machine up?"),
            Self::Agent(unchanged) => {
                f.write_str("its agent is silent")?;
                if let Some(unchanged) = unchanged {
                    write!(f, " (no heartbeat for {} s)", unchanged.as_secs())?;
                }
                f.write_str(": does its pod run? The kernel goes on with what it has")
            }
        }
    }
}
