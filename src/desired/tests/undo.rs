//! Everything is to be undone: the node acts as if it had no labels, and no real server waits for ever.

use std::time::Duration;

use super::fixture::*;
use crate::{desired::questions, model::*};

fn asked(mut lan: Lan) -> Lan {
    lan.snapshot.undo = Some("now".to_owned());
    lan
}

#[test]
fn a_director_drops_everything_and_asks_the_wire_nothing() {
    let mut lan = Lan::director();
    lan.bound("r1");
    lan.serving(&[("10.77.0.11", 1)]);
    lan.carrying("eth0", Role::Held);
    assert!(!lan.desired().net.services.is_empty());
    let lan = asked(lan);
    let desired = lan.desired();
    assert_eq!(*desired.net, NodeNet::default());
    assert!(desired.virtual_services.is_empty());
    let admission = crate::desired::admit(&lan.snapshot);
    let questions = questions(
        &lan.node,
        &lan.snapshot,
        &admission,
        &lan.observed,
        &lan.elected,
    );
    assert_eq!(questions, Default::default());
}

#[test]
fn a_real_server_keeps_the_vip_while_a_director_sends_to_it_but_not_for_ever() {
    let mut lan = asked(Lan::real_server());
    lan.carrying("lo", Role::Quiet);
    let state = PeerState {
        directing: vec![Directing {
            vips: [ip(VIP)].into_iter().collect(),
            ready: [ip("10.77.0.11")].into(),
            ..Directing::default()
        }],
        ..PeerState::default()
    };
    lan.snapshot.peers = Peers::Reported([("d".into(), state)].into());
    lan.timers = lan.desired().timers;
    for (seconds, devices) in [(19, on(&[("lo", false)])), (20, on(&[]))] {
        lan.now = Duration::from_secs(seconds);
        assert_eq!(lan.devices(), devices, "after {seconds} s");
    }
    lan.snapshot.undo = None;
    lan.snapshot.virtual_services.clear();
    assert_eq!(
        lan.devices(),
        on(&[("lo", false)]),
        "without a request nothing is taken from under a director"
    );
}
