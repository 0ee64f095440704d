//! Real servers by the endpoints of a Service.

use std::time::Duration;

use super::fixture::*;
use crate::{
    desired::{Desired, RealServerState},
    health::Checks,
    model::*,
};

const R1: &str = "10.77.0.11";
const R2: &str = "10.77.0.12";

fn shop_web() -> ServiceName {
    ServiceName::new("shop", "web")
}

fn endpoint(address: &str, node: &str, state: EndpointState) -> Endpoint {
    Endpoint {
        address: ip(address),
        node: Some(node.into()),
        state,
    }
}

impl Lan {
    /// Seen from a director, with both real servers bound, and a VirtualService that follows a Service.
    fn following(endpoints: &[(&str, EndpointState)]) -> Self {
        let mut lan = Self::director();
        lan.bound("r1");
        lan.bound("r2");
        lan.web().real_servers.service = Some(shop_web());
        lan.endpoints(endpoints);
        lan
    }

    /// What runs on the hosts' network now.
    fn endpoints(&mut self, endpoints: &[(&str, EndpointState)]) {
        let endpoints = endpoints.iter().map(|(address, state)| {
            let node = if *address == R1 { "r1" } else { "r2" };
            endpoint(address, node, *state)
        });
        self.slice("a", EndpointPorts::Any, endpoints.collect());
    }

    fn slice(&mut self, name: &str, ports: EndpointPorts, endpoints: Vec<Endpoint>) {
        let slices = self.snapshot.endpoints.entry(shop_web()).or_default();
        slices.insert(name.to_owned(), Slice { ports, endpoints });
    }

    fn state(&self, address: &str) -> RealServerState {
        let vs_state = self.vs_state();
        let states = vs_state.real_servers_of(ip(VIP)).unwrap();
        let mut all = states.of(web_key().into());
        all.find(|(it, _)| **it == ip(address)).unwrap().1.clone()
    }

    fn unready(&self, address: &str) -> Reason {
        match self.state(address) {
            RealServerState::Unready(refusal) => refusal.reason,
            other => panic!("{address} is {other:?}"),
        }
    }

    /// One pass, and what it makes of the kernel's destinations.
    fn pass(&mut self, after: u64) -> Vec<(String, u32)> {
        self.now += Duration::from_secs(after);
        let Desired { timers, .. } = self.desired();
        let found = self.weights();
        self.timers = timers;
        let destinations: Vec<_> = found.iter().map(|(ip, w)| (ip.as_str(), *w)).collect();
        self.serving(&destinations);
        found
    }
}

use EndpointState::{NotReady, Ready, ServingTerminating, Terminating};

#[test]
fn only_nodes_with_a_ready_endpoint_get_connections() {
    let mut lan = Lan::following(&[(R1, Ready), (R2, NotReady)]);
    assert_eq!(lan.weights(), weights(&[(R1, 1)]));
    assert_eq!(lan.unready(R2), Reason::EndpointNotReady);
    lan.endpoints(&[(R1, Ready)]);
    assert_eq!(lan.weights(), weights(&[(R1, 1)]));
    assert_eq!(lan.state(R2), RealServerState::Absent);
}

#[test]
fn a_ready_endpoint_replaces_no_other_condition() {
    let mut lan = Lan::following(&[(R1, Ready), (R2, Ready)]);
    lan.unbound("r1");
    assert_eq!(lan.weights(), weights(&[(R2, 1)]));
    assert_eq!(lan.unready(R1), Reason::NotBound);
}

#[test]
fn the_selector_narrows_and_hosts_outside_have_no_endpoints() {
    let mut lan = Lan::following(&[(R1, Ready), (R2, Ready)]);
    lan.neighbour("10.77.0.90", 90);
    lan.wire.answers.insert(ip(VIP), Answer::default());
    let requirement = Requirement {
        key: "tier".to_owned(),
        operator: Operator::Exists,
    };
    lan.web().real_servers.selector = Some(Selector(vec![requirement]));
    lan.web().real_servers.external = vec![ExternalServer {
        address: ip("10.77.0.90"),
        weight: 3,
    }];
    let r2 = lan.snapshot.nodes.get_mut(&"r2".into()).unwrap();
    r2.labels.insert("tier".to_owned(), "web".to_owned());
    assert_eq!(lan.weights(), weights(&[(R2, 1), ("10.77.0.90", 3)]));
}

#[test]
fn a_flapping_endpoint_keeps_its_place() {
    let mut lan = Lan::following(&[(R1, Ready), (R2, Ready)]);
    let both = weights(&[(R1, 1), (R2, 1)]);
    assert_eq!(lan.pass(0), both);
    for _ in 0..3 {
        lan.endpoints(&[(R1, NotReady), (R2, Ready)]);
        assert_eq!(lan.pass(3600), weights(&[(R1, 0), (R2, 1)]));
        lan.endpoints(&[(R1, Ready), (R2, Ready)]);
        assert_eq!(lan.pass(1), both);
    }
}

#[test]
fn one_that_ends_drains_and_its_place_is_kept_for_a_while() {
    let mut lan = Lan::following(&[(R1, Ready), (R2, Ready)]);
    lan.pass(0);
    lan.endpoints(&[(R1, ServingTerminating), (R2, Ready)]);
    let draining = weights(&[(R1, 0), (R2, 1)]);
    assert_eq!(lan.pass(1), draining);
    assert_eq!(lan.unready(R1), Reason::Draining);
    lan.endpoints(&[(R1, Terminating), (R2, Ready)]);
    assert_eq!(lan.pass(600), draining, "it is still there");
    lan.endpoints(&[(R2, Ready)]);
    assert_eq!(lan.pass(1), draining, "without connections, too");
    assert!(lan.vs_state().draining.contains(&ip(R1)));
    assert_eq!(lan.pass(59), draining);
    assert_eq!(lan.pass(2), weights(&[(R2, 1)]));
}

#[test]
fn one_that_comes_back_in_time_starts_the_clock_anew() {
    let mut lan = Lan::following(&[(R1, Ready), (R2, Ready)]);
    lan.pass(0);
    for _ in 0..2 {
        lan.endpoints(&[(R2, Ready)]);
        assert_eq!(lan.pass(1), weights(&[(R1, 0), (R2, 1)]));
        assert_eq!(lan.pass(40), weights(&[(R1, 0), (R2, 1)]));
        lan.endpoints(&[(R1, NotReady), (R2, Ready)]);
        assert_eq!(lan.pass(1), weights(&[(R1, 0), (R2, 1)]));
        lan.endpoints(&[(R1, Ready), (R2, Ready)]);
        assert_eq!(lan.pass(1), weights(&[(R1, 1), (R2, 1)]));
    }
}

#[test]
fn one_that_ends_serves_while_there_is_no_other() {
    let mut lan = Lan::following(&[(R1, ServingTerminating), (R2, NotReady)]);
    assert_eq!(lan.weights(), weights(&[(R1, 1)]));
    lan.endpoints(&[(R1, ServingTerminating), (R2, Ready)]);
    assert_eq!(lan.weights(), weights(&[(R2, 1)]));
    lan.endpoints(&[(R1, Terminating), (R2, NotReady)]);
    assert_eq!(lan.weights(), weights(&[]));
    // Its agent must report the VIP as bound, too.
    lan.endpoints(&[(R1, ServingTerminating)]);
    lan.snapshot.peers = Peers::Reported(Default::default());
    assert_eq!(lan.weights(), weights(&[]));
    assert_eq!(lan.unready(R1), Reason::Draining);
}

#[test]
fn what_has_not_been_read_changes_nothing() {
    let mut lan = Lan::following(&[]);
    lan.snapshot.endpoints.clear();
    assert_eq!(lan.weights(), weights(&[]));
    assert!(
        matches!(lan.state(R1), RealServerState::Unknown(refusal) if refusal.reason == Reason::Pending)
    );
    lan.serving(&[(R1, 1), (R2, 0)]);
    assert_eq!(lan.weights(), weights(&[(R1, 1), (R2, 0)]));
    assert_eq!(lan.pass(3600), weights(&[(R1, 1), (R2, 0)]));
}

#[test]
fn a_pod_with_its_own_network_is_refused_by_its_node() {
    let mut lan = Lan::following(&[]);
    lan.slice(
        "a",
        EndpointPorts::Any,
        vec![endpoint("10.244.1.7", "r1", Ready)],
    );
    assert_eq!(lan.weights(), weights(&[]));
    assert_eq!(lan.unready(R1), Reason::EndpointOnPodNetwork);
    assert_eq!(lan.state(R2), RealServerState::Absent);
    // Beside an endpoint on the host's network it does not matter.
    lan.slice("b", EndpointPorts::Any, vec![endpoint(R1, "r1", Ready)]);
    assert_eq!(lan.weights(), weights(&[(R1, 1)]));
}

#[test]
fn an_endpoint_that_says_no_node_belongs_to_the_one_with_its_address() {
    let mut lan = Lan::following(&[]);
    let unnamed = |address: &str| Endpoint {
        address: ip(address),
        node: None,
        state: Ready,
    };
    let endpoints = vec![unnamed(R1), unnamed("10.77.0.99")];
    lan.slice("a", EndpointPorts::Any, endpoints);
    assert_eq!(lan.weights(), weights(&[(R1, 1)]));
}

#[test]
fn an_endpoint_must_listen_on_every_port() {
    let mut lan = Lan::following(&[]);
    let these = |ports: &[u16]| {
        let ports = ports.iter().map(|port| (*port, Protocol::Tcp));
        EndpointPorts::These(ports.collect())
    };
    lan.slice("a", these(&[8080]), vec![endpoint(R1, "r1", Ready)]);
    lan.slice("b", these(&[80, 443]), vec![endpoint(R2, "r2", Ready)]);
    assert_eq!(lan.weights(), weights(&[(R2, 1)]));
    assert_eq!(lan.unready(R1), Reason::EndpointPortDiffers);
    let udp = EndpointPorts::These([(80, Protocol::Udp)].into());
    lan.slice("b", udp, vec![endpoint(R2, "r2", Ready)]);
    assert_eq!(lan.unready(R2), Reason::EndpointPortDiffers);
}

#[test]
fn of_two_endpoints_on_a_node_the_better_one_counts() {
    for (one, other) in [
        (Ready, ServingTerminating),
        (ServingTerminating, Ready),
        (NotReady, Ready),
    ] {
        let mut lan = Lan::following(&[]);
        lan.slice("a", EndpointPorts::Any, vec![endpoint(R1, "r1", one)]);
        lan.slice("b", EndpointPorts::Any, vec![endpoint(R1, "r1", other)]);
        assert_eq!(lan.weights(), weights(&[(R1, 1)]), "{one:?} and {other:?}");
    }
}

#[test]
fn real_servers_carry_the_vip_whatever_runs_there() {
    let mut lan = Lan::real_server();
    let before = lan.desired().net;
    lan.web().real_servers.service = Some(shop_web());
    for endpoints in [
        &[][..],
        &[(R1, NotReady)],
        &[(R1, Ready)],
        &[(R1, Terminating)],
    ] {
        lan.endpoints(endpoints);
        assert_eq!(lan.desired().net, before, "{endpoints:?}");
    }
    lan.snapshot.endpoints.clear();
    assert_eq!(lan.desired().net, before, "nor is it read there");
}

#[test]
fn the_last_terminating_endpoint_serves_until_another_one_is_known_to() {
    let mut lan = Lan::following(&[(R1, Ready)]);
    lan.web().health_check.direct_path = true;
    lan.checks = Some(Checks::new(1));
    let pass_checks = |lan: &mut Lan| {
        let wanted = lan.desired().checks;
        let checks = lan.checks.as_mut().unwrap();
        checks.want(&wanted, Duration::ZERO);
        for check in checks.take(Duration::from_secs(60), 0, 9).make {
            checks.count(&check, Ok(()), Duration::ZERO, 0);
        }
    };
    pass_checks(&mut lan);
    lan.pass(0);
    lan.endpoints(&[(R1, ServingTerminating), (R2, Ready)]);
    assert_eq!(lan.pass(1), weights(&[(R1, 1)]), "not checked yet");
    pass_checks(&mut lan);
    assert_eq!(lan.pass(1), weights(&[(R1, 0), (R2, 1)]));
}
