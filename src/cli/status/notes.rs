//! Notes on how far the rest of the output is valid.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    api::Report,
    cli::drain::Left,
    cluster::Store,
    model::{CordonPolicy, NodeName, Snapshot},
};

/// A note for each node that is taken out of use as a real server.
pub(super) fn drained(store: &Store, now: Timestamp) -> impl Iterator<Item = String> {
    let nodes = store.snapshot().nodes.iter();
    let drained = nodes.filter(|(_, node)| node.is_backend() && node.drained);
    drained.map(move |(name, _)| {
        let left = Left::of(name, store);
        if left.is_nothing() {
            return format!("node {name} is drained; directway undrain {name} uses it again");
        }
        format!("node {name} is being drained: {}", left.text(now))
    })
}

/// A note for each node that is no real server because it is cordoned.
pub(super) fn cordoned(snapshot: &Snapshot) -> impl Iterator<Item = String> {
    let nodes = snapshot.nodes.iter();
    let used = nodes.filter(|(_, node)| node.takes_connections(CordonPolicy::Ignore));
    let cordoned = used.filter(|(_, node)| !node.takes_connections(CordonPolicy::Drain));
    cordoned.filter_map(|(name, node)| {
        let objects = snapshot.virtual_services.values().flatten();
        let mut drained = objects.filter(|object| {
            let policy = &object.real_servers;
            let selector = policy.selector.as_ref();
            let is_selected = selector.is_some_and(|it| it.matches(&node.labels));
            is_selected && policy.cordon == CordonPolicy::Drain
        });
        let first = &drained.next()?.key;
        let more = match drained.count() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!(
            "node {name} is cordoned, so it is no real server of {first}{more} (cordonPolicy Drain); kubectl uncordon {name} uses it again"
        ))
    })
}

/// A note if nodes serve nothing because they were asked to undo their work. Their last reports outlive the release.
pub(super) fn undone(reports: &BTreeMap<&NodeName, &Report>) -> Option<String> {
    let asked: Vec<&NodeName> = reports
        .iter()
        .filter(|(_, report)| report.undo.is_some())
        .map(|(name, _)| *name)
        .collect();
    let who = match asked.as_slice() {
        [] => return None,
        [one] => format!("node {one} was"),
        [first, ..] => format!("{} nodes ({first}, …) were", asked.len()),
    };
    Some(format!(
        "{who} asked to undo what directway did (helm uninstall, directway undo), until helm install or directway undo --cancel"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Undoing;

    #[test]
    fn only_nodes_that_were_asked_are_told_of() {
        let names = ["a", "b", "c"].map(|name| NodeName(name.to_owned()));
        let told = |asked: usize| {
            let reports: Vec<Report> = (0..names.len())
                .map(|number| Report {
                    undo: (number < asked).then(Undoing::default),
                    ..Report::default()
                })
                .collect();
            undone(&names.iter().zip(&reports).collect())
        };
        assert_eq!(told(0), None);
        assert!(told(1).unwrap().starts_with("node a was asked"));
        assert!(told(2).unwrap().starts_with("2 nodes (a, …) were asked"));
    }
}
