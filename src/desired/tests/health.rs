//! What health checks make of real servers.

use std::time::Duration;

use super::fixture::*;
use crate::{
    desired::{Desired, RealServerState},
    health::{Check, Checks, Failure, Target, Wanted},
    model::*,
};

const R1: &str = "10.77.0.11";
const R2: &str = "10.77.0.12";

/// Both real servers have the VIP, `web` is checked by its direct path, and no check was made yet.
fn checked() -> Lan {
    let mut lan = Lan::director();
    lan.bound("r1");
    lan.bound("r2");
    lan.web().health_check.direct_path = true;
    lan.checks = Some(Checks::new(1));
    lan
}

fn path(address: &str, port: u16) -> Check {
    Check {
        address: ip(address),
        target: Target::Path { vip: ip(VIP), port },
        timers: CheckTimers::DEFAULT,
    }
}

impl Lan {
    /// Makes each check that is wanted as often as it takes to know: those that `fails` names fail.
    fn check(&mut self, fails: impl Fn(&Check) -> bool) -> Desired {
        let wanted = self.desired().checks;
        let checks = self.checks.as_mut().unwrap();
        checks.want(&wanted, Duration::ZERO);
        for second in 0..60 {
            let now = Duration::from_secs(second);
            for check in checks.take(now, 1_700_000_000, usize::MAX).make {
                let result = match fails(&check) {
                    true => Err(Failure::Closed),
                    false => Ok(()),
                };
                checks.count(&check, result, now, 1_700_000_000);
            }
        }
        self.desired()
    }

    fn weights_of(&self, desired: &Desired, key: ServiceKey) -> Vec<(String, u32)> {
        let destinations = desired.net.services[&key].destinations.iter();
        let all = destinations.map(|(ip, it)| (ip.to_string(), it.weight));
        all.collect()
    }
}

fn weights(desired: &Desired) -> Vec<(String, u32)> {
    Lan::director().weights_of(desired, web_key())
}

fn both(one: u32, two: u32) -> Vec<(String, u32)> {
    vec![(R1.to_owned(), one), (R2.to_owned(), two)]
}

fn state(desired: &Desired, address: &str) -> RealServerState {
    let vs_state = &desired.virtual_services[&VsKey::new("shop", "web")];
    let states = vs_state.real_servers_of(ip(VIP)).unwrap();
    let mut all = states.of(web_key().into());
    all.find(|(it, _)| **it == ip(address)).unwrap().1.clone()
}

#[test]
fn a_real_server_becomes_a_destination_after_its_first_passed_check() {
    let mut lan = checked();
    let desired = lan.desired();
    assert_eq!(weights(&desired), []);
    let expected: Wanted = [(path(R1, 80), false), (path(R2, 80), false)].into();
    assert_eq!(desired.checks, expected);
    let to = &desired.paths[&ip(R1)];
    assert_eq!((to.index, to.to), (2, Mac([2, 0, 0, 0, 0, 11])));
    assert_eq!(to.source.to_string(), "10.77.0.10");
    assert!(
        matches!(state(&desired, R1), RealServerState::Unknown(it) if it.reason == Reason::Pending)
    );
    assert_eq!(weights(&lan.check(|_| false)), both(1, 1));
}

#[test]
fn an_agent_that_starts_takes_nobody_s_weight_before_it_knows_more() {
    let mut lan = checked();
    lan.serving(&[(R1, 1), (R2, 0)]);
    assert_eq!(weights(&lan.desired()), both(1, 0));
}

#[test]
fn who_fails_keeps_its_place_with_weight_0_and_a_reason() {
    let mut lan = checked();
    lan.serving(&[(R1, 1), (R2, 1)]);
    let desired = lan.check(|check| check.address == ip(R2));
    assert_eq!(weights(&desired), both(1, 0));
    assert_eq!(desired.doubtful, [ip(R2)].into());
    let RealServerState::Unready(refusal) = state(&desired, R2) else {
        panic!("{:?}", state(&desired, R2));
    };
    assert_eq!(
        refusal.to_string(),
        "HealthCheckFailed: the check of the direct path has failed since 2023-11-14T22:13:20Z: the port is closed: start the application there, or let it listen on all addresses"
    );
}

#[test]
fn if_all_fail_all_get_connections_and_that_is_said() {
    let mut lan = checked();
    lan.serving(&[(R1, 1), (R2, 1)]);
    let desired = lan.check(|_| true);
    assert_eq!(weights(&desired), both(1, 1));
    assert!(
        matches!(state(&desired, R1), RealServerState::LastResort { refusal, .. } if refusal.message.ends_with("it gets connections because no real server passes its checks"))
    );
    // Those that fail get none as soon as one passes.
    lan.checks = Some(Checks::new(1));
    assert_eq!(
        weights(&lan.check(|check| check.address == ip(R2))),
        both(1, 0)
    );
}

#[test]
fn while_one_may_still_pass_the_failing_ones_get_nothing() {
    let mut lan = checked();
    lan.unbound("r2");
    lan.check(|_| true);
    lan.bound("r2");
    let desired = lan.desired();
    assert!(matches!(state(&desired, R1), RealServerState::Unready(_)));
    assert!(matches!(state(&desired, R2), RealServerState::Unknown(_)));
}

/// As after an agent's start while two fail.
#[test]
fn the_last_one_with_weight_keeps_it_until_another_one_is_known_to_serve() {
    let mut lan = checked();
    lan.unbound("r2");
    lan.check(|_| true);
    lan.bound("r2");
    lan.serving(&[(R1, 1), (R2, 0)]);
    let desired = lan.desired();
    assert!(matches!(state(&desired, R2), RealServerState::Unknown(_)));
    assert_eq!(weights(&desired), both(1, 0));
    assert_eq!(
        weights(&lan.check(|check| check.address == ip(R1))),
        both(0, 1)
    );
}

#[test]
fn one_port_that_is_closed_takes_no_other_port_s_weight() {
    let mut lan = checked();
    lan.web().ports.push(Port {
        port: 443,
        protocol: Protocol::Tcp,
    });
    let https = ServiceKey {
        port: 443,
        ..web_key()
    };
    let desired = lan.check(|check| *check == path(R2, 443));
    assert_eq!(weights(&desired), both(1, 1));
    assert_eq!(lan.weights_of(&desired, https), [(R1.to_owned(), 1)]);
}

#[test]
fn only_who_could_get_connections_is_checked() {
    let mut lan = checked();
    lan.unbound("r2");
    let checks = lan.desired().checks;
    assert_eq!(checks.into_keys().collect::<Vec<_>>(), [path(R1, 80)]);
}

#[test]
fn a_holder_checks_as_one_and_a_node_without_address_checks_no_path() {
    let mut lan = checked();
    let eth0 = dev("eth0");
    lan.elected.held.entry(ip(VIP)).or_default().insert(eth0);
    assert!(lan.desired().checks.into_values().all(|holds| holds));
    lan.eth0().addresses.clear();
    lan.web().directors.interface = Some("eth0".parse().unwrap());
    let desired = lan.desired();
    assert_eq!(desired.checks, Wanted::new());
    assert_eq!(weights(&desired), both(1, 1));
}

#[test]
fn a_real_server_of_another_network_is_asked_from_an_address_that_it_may_have_a_route_to() {
    let mut lan = checked();
    let source = |lan: &Lan| lan.desired().paths[&ip(R1)].source.to_string();
    let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    lan.web().directors.interface = Some("eth0".parse().unwrap());
    lan.eth0().addresses = nets(&["169.254.77.1/24", "192.0.2.9/24"]);
    assert_eq!(source(&lan), "192.0.2.9");
    lan.eth0().addresses = nets(&["169.254.77.1/24"]);
    let eth1 = nic(3, "eth1", &["10.9.0.4/24"]);
    lan.observed.links.insert(eth1.dev.clone(), eth1);
    assert_eq!(source(&lan), "10.9.0.4");
}

#[test]
fn an_application_is_asked_besides_on_each_tcp_port_or_on_the_named_one() {
    let mut lan = checked();
    lan.web().ports.push(Port {
        port: 53,
        protocol: Protocol::Udp,
    });
    let dns = ServiceKey {
        port: 53,
        protocol: Protocol::Udp,
        ..web_key()
    };
    let ask = |port| ApplicationCheck {
        port,
        request: ApplicationRequest::Tcp,
    };
    lan.web().health_check.application = Some(ask(None));
    let fails = |check: &Check| {
        check.address == ip(R2) && matches!(check.target, Target::Application { .. })
    };
    let desired = lan.check(fails);
    assert_eq!(desired.checks.len(), 4);
    assert_eq!(weights(&desired), [(R1.to_owned(), 1)]);
    assert_eq!(lan.weights_of(&desired, dns), both(1, 1), "not asked");

    lan.web().health_check.application = Some(ask(Some(8080)));
    let desired = lan.check(fails);
    assert_eq!(desired.checks.len(), 4, "one for both ports");
    assert_eq!(weights(&desired), [(R1.to_owned(), 1)]);
    assert_eq!(lan.weights_of(&desired, dns), [(R1.to_owned(), 1)]);
}

#[test]
fn a_name_server_is_asked_on_each_tcp_and_udp_port() {
    let mut lan = checked();
    let key = |protocol| ServiceKey {
        port: 53,
        protocol,
        ..web_key()
    };
    let all = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    let ports = all.map(|protocol| Port { port: 53, protocol });
    lan.web().ports = ports.into();
    lan.web().health_check.direct_path = false;
    lan.web().health_check.application = Some(ApplicationCheck {
        port: None,
        request: ApplicationRequest::Dns("shop.example".into()),
    });
    let desired = lan.check(|check| check.address == ip(R2));
    assert_eq!(desired.checks.len(), 2, "one for both ports");
    let without_r2 = [(R1.to_owned(), 1)];
    assert_eq!(lan.weights_of(&desired, key(Protocol::Sctp)), both(1, 1));
    assert_eq!(lan.weights_of(&desired, key(Protocol::Tcp)), without_r2);
    assert_eq!(lan.weights_of(&desired, key(Protocol::Udp)), without_r2);
}

#[test]
fn this_node_itself_is_a_real_server_without_a_path() {
    let mut lan = checked();
    lan.wire.reach.insert(ip(R1), Reach::Local);
    let checks = lan.desired().checks;
    assert_eq!(checks.into_keys().collect::<Vec<_>>(), [path(R2, 80)]);
}

#[test]
fn a_forecast_goes_by_what_the_agent_has_reported() {
    let mut lan = checked();
    lan.checks = None;
    lan.serving(&[(R1, 1), (R2, 0)]);
    assert_eq!(weights(&lan.desired()), both(1, 1));
    let refusal = Refusal::new(Reason::HealthCheckFailed, "closed");
    let directing = Directing {
        vips: [ip(VIP)].into_iter().collect(),
        unready: [(ip(R2), refusal)].into(),
        ..Directing::default()
    };
    if let Peers::Reported(peers) = &mut lan.snapshot.peers {
        let report = PeerState {
            directing: vec![directing],
            ..PeerState::default()
        };
        peers.insert("d".into(), report);
    }
    assert_eq!(weights(&lan.desired()), both(1, 0));
}

#[test]
fn a_standby_without_services_makes_the_checks_that_it_needs_when_it_takes_over() {
    let mut lan = checked();
    let d = lan.snapshot.nodes.get_mut(&"d".into()).unwrap();
    d.labels.insert(BACKEND_LABEL.to_owned(), "true".to_owned());
    lan.wire.reach.insert(ip("10.77.0.10"), Reach::Local);
    let desired = lan.desired();
    assert!(desired.net.services.is_empty(), "it is a real server");
    let checked: Vec<Check> = desired.checks.into_keys().collect();
    assert_eq!(checked, [path(R1, 80), path(R2, 80)]);
}
