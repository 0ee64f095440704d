//! The progress of each node with a request to undo everything: a pure function of what the API server has.

use std::{collections::BTreeMap, fmt};

use crate::{api::Report, cluster::NoReport, model::NodeName};

/// What matters of a node here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NodeInfo {
    /// Whether its labels call for an agent.
    pub has_role: bool,
    /// Why it is not ready.
    pub not_ready: Option<String>,
}

/// The nodes and reports that the API server has.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ClusterState {
    /// Nodes.
    pub nodes: BTreeMap<NodeName, NodeInfo>,
    /// The agents' reports, or why there is none.
    pub states: BTreeMap<NodeName, Result<Report, NoReport>>,
}

/// The progress of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UndoProgress {
    /// Nothing of directway's is left in its kernel.
    Done,
    /// Its agent follows the request.
    Undoing {
        /// What is still there.
        left: String,
    },
    /// Its agent has not reported on the request.
    Silent {
        /// Why the node is not ready, if it is not.
        not_ready: Option<String>,
        /// What its last report says is left, or why there is none.
        last: String,
    },
    /// Its labels call for no agent, and something is left.
    Unattended {
        /// What is left.
        left: String,
    },
}

impl fmt::Display for UndoProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Undoing { left } => write!(f, "undoing; left: {left}"),
            Self::Silent { not_ready, last } => {
                f.write_str("its agent has not answered")?;
                if let Some(why) = not_ready {
                    write!(f, ", and the node is not ready ({why})")?;
                }
                write!(f, "; reported last: {last}")
            }
            Self::Unattended { left } => {
                write!(
                    f,
                    "it has neither role, so no agent runs there; left: {left}"
                )
            }
        }
    }
}

/// The progress of every node that has a NodeState. `request` is `None` if the switch itself is gone: then what was
/// done for any request counts.
///
/// A labelled node without a report is not waited for: its agent never ran, or runs for the first time, and reads the
/// switch before it does anything.
pub(super) fn progress(
    request: Option<&str>,
    cluster_state: &ClusterState,
) -> BTreeMap<NodeName, UndoProgress> {
    let known = cluster_state.states.iter();
    known
        // The report of a deleted node is deleted with it, so it does not count.
        .filter_map(|(name, report)| Some((name, report, cluster_state.nodes.get(name)?)))
        .map(|(name, report, node)| (name.clone(), node_progress(request, report, node)))
        .collect()
}

fn node_progress(
    request: Option<&str>,
    report: &Result<Report, NoReport>,
    node: &NodeInfo,
) -> UndoProgress {
    let silent = |last: String| UndoProgress::Silent {
        not_ready: node.not_ready.clone(),
        last,
    };
    let report = match report {
        Ok(report) => report,
        Err(error) => return silent(error.to_string()),
    };
    let left = left(report);
    let answer = report
        .undo
        .as_ref()
        .filter(|undo| request.is_none_or(|request| undo.request == request));
    match answer {
        Some(undo) if undo.done => UndoProgress::Done,
        Some(_) => UndoProgress::Undoing {
            left: left.unwrap_or_else(|| "settings of its interfaces".to_owned()),
        },
        // An agent undoes its node before it ends with the node's labels, so the last report counts.
        None if !node.has_role => match left {
            Some(left) => UndoProgress::Unattended { left },
            None => UndoProgress::Done,
        },
        None => silent(left.unwrap_or_else(|| "no VIP and no service".to_owned())),
    }
}

/// What is left on the node by its report.
fn left(report: &Report) -> Option<String> {
    let count = |count: u128, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        many => Some(format!("{many} {what}s")),
    };
    let parts = [
        count(report.peer.held.len(), "VIP on a NIC").map(|text| text.replace("NICs", "NIC")),
        count(report.peer.bound.len(), "quiet VIP"),
        count(report.services as u128, "service"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::Undoing, model::PeerState};

    fn report(vips: usize, undo: Option<(&str, bool)>) -> Result<Report, NoReport> {
        let ip = |last: usize| std::net::IpAddr::from([10, 0, 0, u8::try_from(last).unwrap()]);
        Ok(Report {
            peer: PeerState {
                bound: (0..vips).map(ip).collect(),
                ..PeerState::default()
            },
            undo: undo.map(|(request, done)| Undoing {
                request: request.to_owned(),
                done,
            }),
            ..Report::default()
        })
    }

    fn of(
        request: Option<&str>,
        report: Result<Report, NoReport>,
        node: Option<NodeInfo>,
    ) -> String {
        let name = NodeName::from("a");
        let cluster_state = ClusterState {
            nodes: node.map(|node| (name.clone(), node)).into_iter().collect(),
            states: [(name.clone(), report)].into(),
        };
        let found = progress(request, &cluster_state);
        found
            .get(&name)
            .map_or("nobody".to_owned(), ToString::to_string)
    }

    fn labelled() -> Option<NodeInfo> {
        Some(NodeInfo {
            has_role: true,
            not_ready: None,
        })
    }

    #[test]
    fn only_an_answer_to_this_request_counts() {
        let asked = |report| of(Some("now"), report, labelled());
        assert_eq!(asked(report(0, Some(("now", true)))), "done");
        assert_eq!(
            asked(report(2, Some(("now", false)))),
            "undoing; left: 2 quiet VIPs"
        );
        assert_eq!(
            asked(report(0, Some(("now", false)))),
            "undoing; left: settings of its interfaces"
        );
        for stale in [report(1, None), report(1, Some(("before", true)))] {
            assert_eq!(
                asked(stale),
                "its agent has not answered; reported last: 1 quiet VIP"
            );
        }
        assert_eq!(
            asked(Err(NoReport::Garbled("status.bound: what?".to_owned()))),
            "its agent has not answered; reported last: status.bound: what?"
        );
    }

    #[test]
    fn a_node_that_is_down_is_named_so() {
        let down = NodeInfo {
            has_role: true,
            not_ready: Some("NodeStatusUnknown".to_owned()),
        };
        assert_eq!(
            of(Some("now"), report(0, None), Some(down)),
            "its agent has not answered, and the node is not ready (NodeStatusUnknown); reported last: no VIP and no service"
        );
    }

    #[test]
    fn where_no_agent_runs_the_last_report_counts() {
        let bare = || Some(NodeInfo::default());
        assert_eq!(of(Some("now"), report(0, None), bare()), "done");
        assert!(of(Some("now"), report(3, None), bare()).contains("no agent runs there; left: 3"));
        // The agent may be ending just now.
        let ending = report(3, Some(("now", false)));
        assert!(of(Some("now"), ending, bare()).starts_with("undoing"));
    }

    #[test]
    fn a_node_that_was_deleted_is_not_waited_for() {
        assert_eq!(of(Some("now"), report(3, None), None), "nobody");
    }

    #[test]
    fn without_the_switch_any_request_counts() {
        let undone = report(0, Some(("before", true)));
        assert_eq!(of(None, undone, labelled()), "done");
        assert!(of(None, report(0, None), labelled()).starts_with("its agent has not"));
    }
}
