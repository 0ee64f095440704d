//! What would happen: the agents' own decisions, run over and over on what they reported, until nothing more changes.
//!
//! Pure: no kernel, no API. One round is one pass of every agent at once; in the next round, all agents have read in
//! each other's reports what it changed. So the steps show that real servers bind before the director adds them.

mod apply;
mod world;

#[cfg(test)]
mod tests;

pub use apply::apply;
pub use world::{Assumed, EvidenceSource, ForecastCluster, ForecastNode};

use std::{collections::BTreeMap, time::Duration};

use crate::{
    desired::{Desired, Inputs, NodeOptions, RecentDirectors, admit, desired, presumed},
    health::Health,
    model::{AddressKey, Elected, NodeName, Role, Snapshot, SyncHalf},
    plan::{Op, plan},
};

/// More rounds than any real change needs; two per step from first report to the last destination.
const MAX_ROUNDS: usize = 32;

/// Longer than anything takes to drain.
const LONG: Duration = Duration::from_secs(1 << 32);

/// An op that an agent would run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// In which round, from 1.
    pub round: usize,
    /// On which node.
    pub node: NodeName,
    /// What.
    pub op: Op,
    /// Whether it waits until connections have ended or the time to drain is over.
    pub after_drain: bool,
}

/// What would happen until nothing more changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forecast {
    /// Ops in the order in which they would run.
    pub steps: Vec<Step>,
    /// What every node decides in the last round.
    pub nodes: BTreeMap<NodeName, Desired>,
    /// Whether nothing more changed before the rounds ran out.
    pub settled: bool,
}

/// What the agent is told to set is not known here: it is assumed to keep what it has set.
fn options(node: &ForecastNode) -> NodeOptions {
    let settings = node.ledger.ipvs.iter();
    let daemon = |half| node.ledger.own_daemon(half, &node.observed);
    NodeOptions {
        ipvs: settings
            .map(|(setting, change)| (*setting, change.set))
            .collect(),
        sync: SyncHalf::ALL.into_iter().find_map(daemon).cloned(),
        vip_devices: node.vip_devices.clone(),
    }
}

/// What the election does on a node's NICs after the pass: it claims the VIPs that `elected` expects here, and yields
/// those that another director, of now or lately, reports as held.
fn election(
    name: &NodeName,
    node: &ForecastNode,
    wanted: &Desired,
    elected: &Elected,
    former: &RecentDirectors,
    snapshot: &Snapshot,
) -> Vec<Op> {
    let there = &node.observed.net.addresses;
    let others_hold = |vip| {
        let mut holders = former.holders(vip, &snapshot.peers);
        holders.any(|other| other != name)
    };
    let op = |key: &AddressKey| {
        let holds = elected.holds_on(key);
        let in_dispute = elected.conflicts.contains_key(key);
        match there.contains_key(key) {
            false if holds && !in_dispute => Some(Op::AddAddress(key.clone(), Role::Held)),
            true if !holds && others_hold(key.ip) => Some(Op::DelAddress(key.clone(), Role::Held)),
            true | false => None,
        }
    };
    wanted.net.claims.iter().filter_map(op).collect()
}

/// Runs every agent's pass on `world` until none has anything to do.
pub fn settle(snapshot: &Snapshot, world: &mut ForecastCluster) -> Forecast {
    let mut forecast = Forecast::default();
    let mut now = Duration::ZERO;
    let mut after_drain = false;
    let mut waited = false;
    for round in 1..=MAX_ROUNDS {
        let mut snapshot = snapshot.clone();
        snapshot.peers = world.peers(&snapshot.peers);
        let admission = admit(&snapshot);
        let former = world.recent_directors(&snapshot);
        let mut plans = Vec::new();
        for (name, node) in &world.nodes {
            let wire = node.evidence(name, &snapshot, &admission);
            let elected = presumed(name, &snapshot, &admission, &node.observed, &wire);
            let options = options(node);
            let wanted = desired(&Inputs {
                node: name,
                snapshot: &snapshot,
                complete: true,
                options: &options,
                admission: &admission,
                observed: &node.observed,
                ledger: &node.ledger,
                reserved: &node.reserved,
                wire: &wire,
                health: Health::Assumed,
                elected: &elected,
                former: &former,
                timers: &node.timers,
                now,
            });
            let mut plan = plan(&wanted.net, &node.observed, &node.ledger);
            plan.ops
                .extend(election(name, node, &wanted, &elected, &former, &snapshot));
            plans.push((name.clone(), wanted, plan));
        }
        let mut waiting = false;
        let mut acted = false;
        for (name, wanted, plan) in plans {
            if let Some(node) = world.nodes.get_mut(&name) {
                node.timers = wanted.timers.clone();
                waiting |= node.timers.is_waiting();
                for op in &plan.ops {
                    apply(op, &mut node.observed);
                }
                node.ledger = plan.ledger;
                for op in &plan.ops {
                    if let Op::StartSync(half, daemon) = op {
                        node.ledger.started(*half, daemon, &node.observed);
                    }
                }
            }
            acted |= !plan.ops.is_empty();
            let steps = plan.ops.into_iter().map(|op| Step {
                round,
                node: name.clone(),
                // Connections are not known here; a destination is never deleted while it has some.
                after_drain: after_drain || matches!(op, Op::DelDestination(..)),
                op,
            });
            forecast.steps.extend(steps);
            forecast.nodes.insert(name, wanted);
        }
        if acted {
            waited = false;
        } else if waiting && !waited {
            // Only timers are left.
            now += LONG;
            waited = true;
            after_drain = true;
        } else {
            forecast.settled = true;
            break;
        }
    }
    forecast
}
