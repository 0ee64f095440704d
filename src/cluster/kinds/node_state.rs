//! NodeStates: what the nodes' agents report.

use kube::{Client, core::DynamicObject};

use crate::{
    api::{InvalidReport, NodeState, NodeStateStatus, Report},
    cluster::{
        Change, Key, SourceName, Wanted,
        kind::{Kind, any_shape},
    },
    model::{NodeName, PeerState},
};

/// Why a NodeState has no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoReport {
    /// It has no status.
    #[error("its agent has not reported yet")]
    NotYet,
    /// Its status cannot be parsed.
    #[error("{0}")]
    Garbled(String),
}

pub(super) fn kind(client: &Client, wanted: &Wanted) -> Kind<DynamicObject> {
    let details = wanted.details;
    let (said, ended) = (wanted.own.clone(), wanted.own.clone());
    Kind {
        name: SourceName::NodeStates,
        api: any_shape::<NodeState>(client),
        only: None,
        meaning: Box::new(move |object| {
            let name = name(&object);
            match &said {
                Some(own) if own.node == name => own_changes(name, object),
                Some(_) | None if details => vec![Change::Report(
                    name,
                    Box::new(report(object, Report::from_status)),
                )],
                Some(_) | None => peer_changes(name, object),
            }
        }),
        ends: Box::new(move |object| {
            let name = name(&object);
            match &ended {
                Some(own) if own.node == name => {
                    own.state_deleted.notify_one();
                    None
                }
                Some(_) | None => Some(Key::NodeState(name)),
            }
        }),
    }
}

fn name(object: &DynamicObject) -> NodeName {
    NodeName(object.metadata.name.clone().unwrap_or_default())
}

/// What `read` makes of the status.
fn report<T>(
    mut object: DynamicObject,
    read: fn(&NodeStateStatus) -> Result<T, InvalidReport>,
) -> Result<T, NoReport> {
    match object.data.get_mut("status").map(serde_json::Value::take) {
        None | Some(serde_json::Value::Null) => Err(NoReport::NotYet),
        Some(status) => serde_json::from_value::<NodeStateStatus>(status)
            .map_err(|error| error.to_string())
            .and_then(|status| read(&status).map_err(|error| error.to_string()))
            .map_err(NoReport::Garbled),
    }
}

/// What an agent takes from the NodeState that it writes itself: what others have read of it decides where VIPs go, and all
/// directors must decide alike. All else it knows better.
fn own_changes(name: NodeName, object: DynamicObject) -> Vec<Change> {
    let published = report(object, Report::peer_of);
    let change = published.map(|published| {
        let own = PeerState {
            incomplete: published.incomplete,
            ..PeerState::default()
        };
        Change::Peer(name, own)
    });
    change.into_iter().collect()
}

/// The changes for a reader that needs only the part that other nodes act on.
fn peer_changes(name: NodeName, object: DynamicObject) -> Vec<Change> {
    let key = Key::NodeState(name.clone());
    let (source, subject) = (SourceName::NodeStates, key.subject());
    let peer = match report(object, Report::peer_of) {
        Ok(peer) => peer,
        // An agent makes its NodeState first and writes the status then. In between it says as much as a deleted one.
        Err(NoReport::NotYet) => return vec![Change::Gone(key)],
        Err(NoReport::Garbled(error)) => {
            let message = format!("{error}; what it said before stays in force");
            return vec![Change::problem(source, subject, message)];
        }
    };
    vec![
        Change::Peer(name, peer),
        Change::no_problem(source, subject),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_its_own_node_state_an_agent_takes_what_others_place_vips_by() {
        let state = |status: serde_json::Value| -> DynamicObject {
            serde_json::from_value(json!({
                "apiVersion": "directway.dev/v1alpha1", "kind": "NodeState", "metadata": {"name": "a"}, "status": status,
            }))
            .unwrap()
        };
        let status =
            json!({"bound": ["10.0.0.1"], "held": ["10.0.0.1"], "incomplete": ["10.0.0.1"]});
        let own = PeerState {
            incomplete: [std::net::IpAddr::from([10, 0, 0, 1])].into(),
            ..PeerState::default()
        };
        let changes = own_changes("a".into(), state(status));
        assert!(
            matches!(&changes[..], [Change::Peer(name, peer)] if name.0 == "a" && *peer == own),
            "{changes:?}"
        );
        assert!(own_changes("a".into(), state(json!({"bound": 5}))).is_empty());
    }

    #[test]
    fn a_garbled_node_state_changes_nothing() {
        let state = |status: serde_json::Value| -> DynamicObject {
            serde_json::from_value(json!({
                "apiVersion": "directway.dev/v1alpha1", "kind": "NodeState", "metadata": {"name": "b"}, "status": status,
            }))
            .unwrap()
        };
        let changes = peer_changes("b".into(), state(json!({"bound": ["10.0.0.1-10.0.0.3"]})));
        assert!(
            matches!(&changes[..], [Change::Peer(_, peer), Change::NoProblem { .. }] if peer.bound.contains([10, 0, 0, 2].into())),
            "{changes:?}"
        );
        for garbled in [
            json!({"bound": 5}),
            json!({"bound": ["10.0.0.9-10.0.0.1"]}),
            json!("?"),
        ] {
            assert!(matches!(
                report(state(garbled.clone()), Report::from_status),
                Err(NoReport::Garbled(_))
            ));
            let changes = peer_changes("b".into(), state(garbled));
            assert!(
                matches!(&changes[..], [Change::Problem { .. }]),
                "{changes:?}"
            );
        }
        let none = report(state(json!(null)), Report::from_status);
        assert_eq!(none, Err(NoReport::NotYet));
    }

    #[test]
    fn a_node_state_without_a_status_says_as_much_as_a_deleted_one() {
        let empty: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "directway.dev/v1alpha1", "kind": "NodeState", "metadata": {"name": "b"},
        }))
        .unwrap();
        let changes = peer_changes("b".into(), empty);
        assert!(
            matches!(&changes[..], [Change::Gone(Key::NodeState(name))] if name.0 == "b"),
            "{changes:?}"
        );
    }
}
