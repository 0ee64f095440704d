//! Directors that do not hold a VIP because they cannot serve everything behind it, while another one can.

use std::net::IpAddr;

use crate::model::{Move, NodeName, Refusal, Snapshot, TakeCause};

/// What the condition of an object says of its VIP's holder: who it is, and which directors of `order` were passed over.
/// `refusal`: why a director does not do its part for this object.
pub(super) fn held<'a>(
    vip: IpAddr,
    holder: &NodeName,
    order: &[&NodeName],
    snapshot: &Snapshot,
    refusal: impl Fn(&NodeName) -> Option<&'a Refusal>,
) -> String {
    let held = format!("{holder} holds {vip}");
    let is_incomplete = |name: &NodeName| snapshot.is_incomplete(name, vip);
    if is_incomplete(holder) {
        return held;
    }
    let mut others = order.iter().filter(|name| is_incomplete(name));
    let Some(first) = others.next() else {
        return held;
    };
    let more = match others.count() {
        0 => String::new(),
        more => format!(" (nor do {more} more)"),
    };
    // Its reason is another object's where this one has none.
    let why = refusal(first).map_or_else(
        || "directway status says why".to_owned(),
        |refusal| refusal.to_string(),
    );
    format!("{held}; {first} does not serve everything behind it{more}: {why}")
}

/// So many VIPs of a move are looked at: a report may claim ranges of any size.
const MANY: usize = 1_024;

/// What the Event about a move adds to its cause.
pub(super) fn why_moved(moved: &Move, snapshot: &Snapshot) -> String {
    let Some(from) = moved.from.as_deref().map(NodeName::from) else {
        return String::new();
    };
    let mut vips = moved.vips.iter().take(MANY);
    let is_known =
        moved.cause == TakeCause::Planned && vips.any(|vip| snapshot.is_incomplete(&from, vip));
    if is_known {
        format!(" because {from} does not serve everything there")
    } else {
        String::new()
    }
}
