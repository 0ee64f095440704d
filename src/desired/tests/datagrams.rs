//! UDP, which has no connections that end.

use std::time::Duration;

use super::fixture::*;
use crate::model::*;

const R1: &str = "10.77.0.11";
const R2: &str = "10.77.0.12";

fn log_key() -> ServiceKey {
    ServiceKey {
        protocol: Protocol::Udp,
        ..web_key()
    }
}

/// A director of a UDP service with both real servers.
fn director() -> Lan {
    let mut lan = Lan::director();
    lan.web().ports[0].protocol = Protocol::Udp;
    lan.bound("r1");
    lan.bound("r2");
    serving(&mut lan, &[(R1, 1), (R2, 1)]);
    lan
}

fn serving(lan: &mut Lan, destinations: &[(&str, u32)]) {
    lan.serving(destinations);
    let services = &mut lan.observed.net.services;
    let service = services.remove(&web_key()).unwrap();
    services.insert(log_key(), service);
    lan.ledger.services.insert(log_key());
}

fn wanted(lan: &Lan) -> Vec<(String, u32)> {
    let desired = lan.desired();
    let destinations = desired.net.services[&log_key()].destinations.iter();
    let weights = destinations.map(|(address, found)| (address.to_string(), found.weight));
    weights.collect()
}

/// IPVS would send a client that keeps its port there for ever.
#[test]
fn a_real_server_that_is_not_ready_is_no_destination() {
    let silent = Reach::Silent { dev: dev("eth0") };
    for gone in [
        (|lan| {
            let unbound = ["r1", "r2"].map(|name| (name.into(), PeerState::default()));
            lan.snapshot.peers = Peers::Reported(unbound.into());
        }) as fn(&mut Lan),
        |lan| {
            lan.web().real_servers.service = Some(ServiceName::new("shop", "web"));
            let slices = Slices::new();
            lan.snapshot.endpoints = [(ServiceName::new("shop", "web"), slices)].into();
        },
    ] {
        let mut lan = director();
        gone(&mut lan);
        assert_eq!(wanted(&lan), weights(&[]));
    }
    let mut lan = director();
    lan.wire.reach.insert(ip(R1), silent);
    assert_eq!(wanted(&lan), weights(&[(R2, 1)]));
}

#[test]
fn a_weight_of_0_that_somebody_asked_for_stays() {
    let mut lan = director();
    let r1 = lan.snapshot.nodes.get_mut(&"r1".into()).unwrap();
    r1.weight = Some("0".to_owned());
    assert_eq!(wanted(&lan), weights(&[(R1, 0), (R2, 1)]));
}

#[test]
fn one_that_leaves_is_drained_by_the_clients_that_still_send() {
    let mut lan = director();
    let r1 = lan.snapshot.nodes.get_mut(&"r1".into()).unwrap();
    r1.labels.clear();
    let draining = weights(&[(R1, 0), (R2, 1)]);
    assert_eq!(wanted(&lan), draining);
    lan.timers = lan.desired().timers;
    serving(&mut lan, &[(R1, 0), (R2, 1)]);
    let connections = |inactive| Connections {
        active: 0,
        inactive,
    };
    let id = (log_key(), ip(R1));
    lan.observed.draining.insert(id, connections(1));
    lan.now = Duration::from_secs(59);
    assert_eq!(wanted(&lan), draining);
    lan.now = Duration::from_secs(60);
    assert_eq!(wanted(&lan), weights(&[(R2, 1)]), "the deadline has passed");
    lan.now = Duration::from_secs(1);
    lan.observed.draining.insert(id, connections(0));
    assert_eq!(wanted(&lan), weights(&[(R2, 1)]), "nobody sends any more");
}
