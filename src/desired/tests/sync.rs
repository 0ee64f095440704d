//! The daemons by which directors exchange their connections.

use super::fixture::*;
use crate::{
    desired::{Desired, NodeOptions},
    model::*,
};

fn synchronised(lan: &mut Lan) -> Desired {
    let daemon = SyncDaemon {
        dev: dev("eth0"),
        id: 215,
    };
    lan.options = NodeOptions {
        sync: Some(daemon),
        ..NodeOptions::default()
    };
    lan.desired()
}

fn halves(lan: &mut Lan) -> Vec<SyncHalf> {
    synchronised(lan).net.sync.keys().copied().collect()
}

#[test]
fn a_director_tells_and_listens_as_long_as_it_has_a_service() {
    let mut lan = Lan::director();
    lan.bound("r1");
    assert_eq!(halves(&mut lan), SyncHalf::ALL);
    lan.snapshot.virtual_services.clear();
    assert_eq!(halves(&mut lan), []);
    assert_eq!(halves(&mut Lan::real_server()), []);
}

#[test]
fn a_director_that_is_also_a_real_server_does_not_listen_and_says_so() {
    let mut lan = Lan::director();
    lan.bound("r1");
    let node = lan.snapshot.nodes.get_mut(&"d".into()).unwrap();
    let label = (BACKEND_LABEL.to_owned(), "true".to_owned());
    node.labels.extend([label]);
    // It has the services only while it holds the VIP.
    lan.elected.held.insert(ip(VIP), [dev("eth0")].into());
    assert_eq!(halves(&mut lan), [SyncHalf::Master]);
    let notes = synchronised(&mut lan).notes;
    assert!(
        notes.iter().any(|note| note.contains("learns of no other")),
        "{notes:?}"
    );
}
