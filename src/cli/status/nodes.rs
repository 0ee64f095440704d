//! The lines about nodes: what each agent reports of its own node, as far as its word counts.

use serde::Serialize;

use crate::{
    api::Report,
    controller::Silence,
    model::{IpRanges, Node, NodeName, Reason, Refusal},
};

/// The state of one node.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeLine {
    pub name: String,
    pub roles: Vec<&'static str>,
    /// For how long its agent has been silent, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent_seconds: Option<u64>,
    pub held: Vec<String>,
    pub bound: Vec<String>,
    pub services: usize,
    pub destinations: usize,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub agent_version: String,
    /// Failed preflight checks, refusals, conflicts and warnings of the node.
    pub problems: Vec<String>,
}

/// What others know of a node that reports.
#[derive(Debug)]
pub(super) struct Known<'a> {
    /// Its Node object.
    pub node: Option<&'a Node>,
    /// Whether it is a director, or was one lately.
    pub directs: bool,
    /// Why its report may be old.
    pub silence: Option<Silence>,
}

/// The line of a node in a cluster, without what does not count. That an agent is silent matters where one should run, and
/// where it left something.
pub(super) fn known_node(name: &NodeName, report: &Report, known: &Known<'_>) -> NodeLine {
    let mut counting = report.clone();
    if !known.directs {
        counting.peer.held = IpRanges::default();
        counting.conflicts.clear();
        // Of what other programs undo, every node knows by itself.
        let is_its_own = |warning: &Refusal| warning.reason == Reason::Overwritten;
        counting.warnings.retain(|warning, _| is_its_own(warning));
    }
    let mut line = node_line(name, &counting);
    let roles = known.node.map(|it| (it.is_director(), it.is_backend()));
    line.roles = roles_of(roles.unwrap_or_default());
    if counting != *report {
        line.problems.insert(0, ignored(report));
    }
    let peer = &report.peer;
    let is_needed = !line.roles.is_empty() || !peer.held.is_empty() || !peer.bound.is_empty();
    if let Some(silence) = known.silence.filter(|_| is_needed) {
        let reason = Reason::ReportStale;
        let problem = format!("{reason}: {silence}; this line is what it reported last");
        line.problems.insert(0, problem);
        if let Silence::Agent(unchanged) = silence {
            line.silent_seconds = unchanged.map(|it| it.as_secs());
        }
    }
    line
}

/// What a node reports that only a director's word counts for.
fn ignored(report: &Report) -> String {
    let what = match report.peer.held.to_strings().as_slice() {
        [] => "conflicts and warnings of VIPs".to_owned(),
        [held] => format!("{held} as held"),
        [first, ..] => format!("{first} and more as held"),
    };
    format!(
        "it reports {what}, which does not count: it is no director (label directway.dev/director)"
    )
}

fn roles_of((is_director, is_backend): (bool, bool)) -> Vec<&'static str> {
    let roles = [(is_director, "director"), (is_backend, "backend")];
    let roles = roles.into_iter().filter(|(has, _)| *has);
    roles.map(|(_, role)| role).collect()
}

/// What an agent says of its node.
pub(super) fn node_line(name: &NodeName, report: &Report) -> NodeLine {
    let preflight = report.preflight.iter();
    let preflight =
        preflight.map(|entry| format!("{}: {}; {}", entry.check, entry.message, entry.fix));
    let refused = report
        .refused
        .iter()
        .map(|(key, refusal)| format!("{key}: {refusal}"));
    let conflicts = report.conflicts.iter().map(|((vip, dev), conflict)| {
        format!("VIPConflict: {vip} is answered on {dev} by {conflict}")
    });
    let warnings = report
        .warnings
        .iter()
        .map(|(warning, vips)| format!("{}: {vips}: {}", warning.reason, warning.message));
    let left_out = (report.left_out > 0).then(|| {
        format!(
            "the report leaves out {} entries to stay small: /state of the node's agent has more of them",
            report.left_out
        )
    });
    NodeLine {
        name: name.to_string(),
        roles: roles_of((report.is_director, report.is_backend)),
        silent_seconds: None,
        held: report.peer.held.to_strings(),
        bound: report.peer.bound.to_strings(),
        services: report.services,
        destinations: report.destinations,
        agent_version: report.agent_version.clone(),
        problems: preflight
            .chain(refused)
            .chain(conflicts)
            .chain(warnings)
            .chain(left_out)
            .collect(),
    }
}
