//! The daemons that tell directors of each other's connections.

use super::fixture::*;
use crate::{
    desired::{Desired, synchronise},
    model::*,
};

fn synchronised(lan: &Lan) -> Desired {
    let daemon = SyncDaemon {
        dev: dev("eth0"),
        id: 215,
    };
    let mut desired = lan.desired();
    lan.decide(|inputs| synchronise(&mut desired, &daemon, inputs));
    desired
}

fn halves(lan: &Lan) -> Vec<SyncHalf> {
    synchronised(lan).net.sync.keys().copied().collect()
}

#[test]
fn a_director_tells_and_listens_as_long_as_it_has_a_service() {
    let mut lan = Lan::director();
    lan.bound("r1");
    assert_eq!(halves(&lan), SyncHalf::ALL);
    lan.snapshot.virtual_services.clear();
    assert_eq!(halves(&lan), []);
    assert_eq!(halves(&Lan::real_server()), []);
}

#[test]
fn a_director_that_is_also_a_real_server_does_not_listen_and_says_so() {
    let mut lan = Lan::director();
    lan.bound("r1");
    let node = lan.snapshot.nodes.get_mut(&"d".into()).unwrap();
    let label = (BACKEND_LABEL.to_owned(), "true".to_owned());
    node.labels.extend([label]);
    assert_eq!(halves(&lan), [SyncHalf::Master]);
    let notes = synchronised(&lan).notes;
    assert!(
        notes.iter().any(|note| note.contains("learns of no other")),
        "{notes:?}"
    );
}
