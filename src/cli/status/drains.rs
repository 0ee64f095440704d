//! Real servers that keep their open connections for a while, and for how long.

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    api::Report,
    model::{NodeName, Snapshot},
};

use super::document::node_of;

/// What is left of a real server on one director.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DrainLine {
    pub address: String,
    /// The node with that address; absent for external hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    pub director: String,
    /// How many are open, to two digits.
    pub connections: u32,
    /// When the director deletes it at the latest.
    pub until: Timestamp,
    pub seconds_left: u64,
}

/// The drains in these reports, as they are at `now`.
pub(super) fn lines<'a>(
    reports: impl Iterator<Item = (&'a NodeName, &'a Report)>,
    snapshot: Option<&Snapshot>,
    now: Timestamp,
) -> Vec<DrainLine> {
    let of_director = |(director, report): (&NodeName, &Report)| {
        let lines = report.drains.iter().map(|(address, drain)| DrainLine {
            address: address.to_string(),
            node: snapshot.and_then(|snapshot| node_of(*address, snapshot)),
            director: director.to_string(),
            connections: drain.connections,
            until: drain.until,
            seconds_left: drain.seconds_left(now),
        });
        lines.collect::<Vec<_>>()
    };
    reports.flat_map(of_director).collect()
}
