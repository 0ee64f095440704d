use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    cli::output::Table,
    desired::{RealServerState, VirtualServiceState},
    forecast::Forecast,
    model::{NodeName, Refusal},
    plan::{Op, Phase},
};

/// The output of `plan`, for people and programs.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    /// Each node's ops, in their order.
    pub nodes: Vec<NodePlan>,
    /// What would not be done, and why.
    pub refusals: Vec<Refused>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
}

/// What would happen on one node.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodePlan {
    pub node: String,
    pub ops: Vec<Line>,
}

/// One op.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    /// The number of the round. All nodes' ops of a round come before any op of the next.
    pub round: usize,
    /// The safety order within a round.
    pub phase: &'static str,
    /// As a command to type.
    pub line: String,
    /// Whether it waits for connections to end.
    pub after_drain: bool,
}

/// A refusal of a VirtualService.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Refused {
    /// namespace/name, or the file where no object could be read.
    pub subject: String,
    /// The node that refuses its part; absent if all do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// From the closed set.
    pub reason: &'static str,
    /// What is refused, and how to fix it.
    pub message: String,
}

/// A forecast's ops, node by node.
pub(super) fn by_node(forecast: &Forecast) -> Vec<NodePlan> {
    let names = forecast.nodes.keys();
    let mut ops: BTreeMap<&NodeName, Vec<Line>> = names.map(|name| (name, Vec::new())).collect();
    for step in &forecast.steps {
        let line = Line::new(step.round, &step.op, step.after_drain);
        ops.entry(&step.node).or_default().push(line);
    }
    let nodes = ops.into_iter().map(|(node, ops)| NodePlan {
        node: node.to_string(),
        ops,
    });
    nodes.collect()
}

/// What a node refuses of a VirtualService: its own part, and real servers.
pub(super) fn refusals_of(vs_state: &VirtualServiceState) -> impl Iterator<Item = &Refusal> {
    let real_servers = vs_state
        .real_servers
        .iter()
        .flat_map(|(_, real_servers)| real_servers.all());
    let unready = real_servers.filter_map(|state| match state {
        RealServerState::Unready(refusal)
        | RealServerState::Unknown(refusal)
        | RealServerState::LastResort { refusal, .. } => Some(&**refusal),
        RealServerState::Ready { .. } | RealServerState::Absent => None,
    });
    vs_state.refusal.iter().chain(unready)
}

impl Refused {
    pub fn new(subject: impl ToString, node: Option<&dyn ToString>, refusal: &Refusal) -> Self {
        Self {
            subject: subject.to_string(),
            node: node.map(ToString::to_string),
            reason: refusal.reason.name(),
            message: refusal.message.clone(),
        }
    }
}

impl Line {
    pub fn new(round: usize, op: &Op, after_drain: bool) -> Self {
        Self {
            round,
            phase: phase_name(op.phase()),
            line: op.to_string(),
            after_drain,
        }
    }
}

impl Document {
    /// The document as people read it; every line that is not a command is a comment.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let busy: Vec<&NodePlan> = self
            .nodes
            .iter()
            .filter(|node| !node.ops.is_empty())
            .collect();
        if busy.is_empty() {
            out.push_str("nothing to do\n");
        }
        for node in &busy {
            let count = node.ops.len();
            let plural = if count == 1 { "" } else { "s" };
            out.push_str(&format!("# {}: {count} op{plural}\n", node.node));
            let mut last = None;
            for op in &node.ops {
                let here = Some((op.round, op.phase));
                if last != here {
                    let drained = if op.after_drain { ", when drained" } else { "" };
                    let step = if self.rounds() > 1 {
                        format!("step {}{drained}, ", op.round)
                    } else {
                        String::new()
                    };
                    out.push_str(&format!("#   {step}{}\n", op.phase));
                    last = here;
                }
                out.push_str(&format!("{}\n", op.line));
            }
            out.push('\n');
        }
        let idle = self.nodes.iter().filter(|node| node.ops.is_empty());
        let idle: Vec<&str> = idle.map(|node| node.node.as_str()).collect();
        if !busy.is_empty() && !idle.is_empty() {
            out.push_str(&format!("# nothing to do on {}\n\n", idle.join(", ")));
        }
        out.push_str(&self.refusals());
        for note in &self.notes {
            out.push_str(&format!("# note: {note}\n"));
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }

    fn rounds(&self) -> usize {
        let ops = self.nodes.iter().flat_map(|node| &node.ops);
        ops.map(|op| op.round).max().unwrap_or(0)
    }

    fn refusals(&self) -> String {
        if self.refusals.is_empty() {
            return String::new();
        }
        let mut table = Table::new(["# refused:", "NODE", "REASON", "MESSAGE"]);
        for refused in &self.refusals {
            table.row([
                &format!("#   {}", refused.subject),
                refused.node.as_deref().unwrap_or("-"),
                refused.reason,
                &refused.message,
            ]);
        }
        format!("{}\n", table.render())
    }
}

/// The name of a phase in the output.
fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Yield => "yield",
        Phase::Quiet => "quiet",
        Phase::AddDevice => "add-device",
        Phase::Bind => "bind",
        Phase::AddRoute => "add-route",
        Phase::AddService => "add-service",
        Phase::AddDestination => "add-destination",
        Phase::StopSync => "stop-sync",
        Phase::StartSync => "start-sync",
        Phase::Quiesce => "quiesce",
        Phase::DelDestination => "del-destination",
        Phase::DelService => "del-service",
        Phase::DelRoute => "del-route",
        Phase::Unbind => "unbind",
        Phase::DelDevice => "del-device",
        Phase::Restore => "restore",
        Phase::Claim => "claim",
    }
}
