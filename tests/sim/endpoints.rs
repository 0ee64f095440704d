//! Real servers that follow a Service: its endpoints come and go, the nodes stay as they are.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use directway::model::*;
use proptest::prelude::*;

use crate::{
    cluster::{Cluster, Talk, answers},
    site::{BACKENDS, VIP, address, key, web},
};

use EndpointState::{NotReady, Ready, ServingTerminating, Terminating};

fn service() -> ServiceName {
    ServiceName::new("shop", "web")
}

fn following() -> VirtualService {
    let mut following = web();
    following.real_servers.service = Some(service());
    following
}

/// What runs now: node → its endpoint.
fn run(cluster: &mut Cluster, endpoints: &[(&str, EndpointState)]) {
    let endpoints = endpoints.iter().map(|(node, state)| Endpoint {
        address: address(node),
        node: Some((*node).into()),
        state: *state,
    });
    let slice = Slice {
        ports: EndpointPorts::These([(80, Protocol::Tcp)].into()),
        endpoints: endpoints.collect(),
    };
    let slices = [("web-1".to_owned(), slice)].into();
    cluster.snapshot.endpoints = [(service(), slices)].into();
}

fn destinations(cluster: &Cluster) -> Vec<(IpAddr, u32)> {
    let services = cluster.observe(cluster.holders(VIP)[0]).net.services;
    let destinations = &services[&key(VIP, 80, Protocol::Tcp)].destinations;
    let weights = destinations.iter().map(|(ip, found)| (*ip, found.weight));
    weights.collect()
}

fn weights(expected: &[(&str, u32)]) -> Vec<(IpAddr, u32)> {
    let named = expected
        .iter()
        .map(|(name, weight)| (address(name), *weight));
    named.collect()
}

#[test]
fn a_rolling_update_loses_no_request_and_moves_nothing_but_weights() {
    let mut cluster = Cluster::new(Talk::Reports);
    cluster.apply(following());
    run(&mut cluster, &[("r1", Ready), ("r2", Ready), ("r3", Ready)]);
    cluster.settle();
    cluster.safety.serving(true);
    let before = cluster.state();
    for updated in BACKENDS {
        for state in [ServingTerminating, Terminating, NotReady, Ready] {
            let others = BACKENDS.iter().map(|node| (*node, Ready));
            let mut endpoints: Vec<_> = others.filter(|(node, _)| *node != updated).collect();
            endpoints.push((updated, state));
            run(&mut cluster, &endpoints);
            cluster.settle();
            let found = cluster.answers(VIP, 80, Protocol::Tcp, 12);
            assert_eq!(
                found.contains_key(updated),
                state == Ready,
                "{updated}: {state:?}: {found:?}"
            );
            let now = cluster.state();
            for node in BACKENDS {
                assert_eq!(
                    now[node], before[node],
                    "{updated}: {state:?}: {node} was touched"
                );
            }
        }
    }
    assert_eq!(cluster.state(), before);
    cluster.safety.check(&cluster.story);
}

#[test]
fn a_pod_that_comes_back_finds_its_place_and_one_that_does_not_loses_it() {
    let mut cluster = Cluster::new(Talk::Reports);
    cluster.apply(following());
    run(&mut cluster, &[("r1", Ready), ("r2", Ready)]);
    cluster.settle();
    assert_eq!(
        destinations(&cluster),
        weights(&[("r1", 1), ("r2", 1)]),
        "and none on r3"
    );
    run(&mut cluster, &[("r2", Ready)]);
    for _ in 0..19 {
        cluster.round();
        assert_eq!(destinations(&cluster), weights(&[("r1", 0), ("r2", 1)]));
    }
    run(&mut cluster, &[("r1", Ready), ("r2", Ready)]);
    cluster.settle();
    assert_eq!(destinations(&cluster), weights(&[("r1", 1), ("r2", 1)]));
    run(&mut cluster, &[("r2", Ready)]);
    cluster.round();
    cluster.wait(Duration::from_secs(20));
    cluster.settle();
    assert_eq!(destinations(&cluster), weights(&[("r2", 1)]));
    let vip = crate::site::ip(VIP);
    assert!(
        cluster.observe("r1").net.carries(vip),
        "it is ready for the next pod"
    );
    cluster.safety.check(&cluster.story);
}

#[test]
fn an_agent_that_starts_before_it_knows_endpoints_changes_nothing() {
    let mut cluster = Cluster::new(Talk::Reports);
    cluster.apply(following());
    run(&mut cluster, &[("r1", Ready), ("r2", NotReady)]);
    cluster.settle();
    cluster.safety.serving(true);
    let before = cluster.state();
    let known = std::mem::take(&mut cluster.snapshot.endpoints);
    let holder = cluster.holders(VIP)[0];
    cluster.restart(holder);
    cluster.settle();
    assert_eq!(cluster.state(), before, "{}", cluster.story);
    assert_eq!(
        cluster.answers(VIP, 80, Protocol::Tcp, 4),
        answers([("r1", 4)])
    );
    cluster.snapshot.endpoints = known;
    cluster.settle();
    assert_eq!(cluster.state(), before);
    cluster.safety.check(&cluster.story);
}

#[test]
fn to_follow_a_service_from_now_on_loses_no_request() {
    let mut cluster = Cluster::new(Talk::Reports);
    cluster.apply(web());
    cluster.settle();
    cluster.safety.serving(true);
    cluster.apply(following());
    cluster.settle();
    assert_eq!(
        destinations(&cluster),
        weights(&[("r1", 1), ("r2", 1), ("r3", 1)])
    );
    run(&mut cluster, &[("r2", Ready)]);
    cluster.settle();
    assert_eq!(
        cluster.answers(VIP, 80, Protocol::Tcp, 3),
        answers([("r2", 3)])
    );
    cluster.apply(web());
    cluster.settle();
    assert_eq!(
        destinations(&cluster),
        weights(&[("r1", 1), ("r2", 1), ("r3", 1)])
    );
    cluster.safety.check(&cluster.story);
}

fn anything() -> impl Strategy<Value = Vec<[Option<EndpointState>; 3]>> {
    let state = prop::sample::select(vec![Ready, ServingTerminating, Terminating, NotReady]);
    let of_a_node = prop::option::of(state);
    prop::collection::vec([of_a_node.clone(), of_a_node.clone(), of_a_node], 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// However endpoints change: the nodes of real servers stay as they are; connections go to ready ones only, or if
    /// none is ready to terminating ones that still serve; and after deletion nothing is left.
    #[test]
    fn whatever_endpoints_do(history in anything()) {
        let mut cluster = Cluster::new(Talk::Reports);
        let clean = cluster.state();
        cluster.apply(following());
        run(&mut cluster, &[]);
        cluster.settle();
        let before = cluster.state();
        for states in history {
            let running = BACKENDS.into_iter().zip(states);
            let running: Vec<_> = running.filter_map(|(node, state)| Some((node, state?))).collect();
            run(&mut cluster, &running);
            for _ in 0..3 {
                cluster.round();
            }
            let of = |wanted| {
                let of_state = running.iter().filter(move |(_, state)| *state == wanted);
                of_state.map(|(node, _)| address(node)).collect::<BTreeSet<_>>()
            };
            let expected = if of(Ready).is_empty() { of(ServingTerminating) } else { of(Ready) };
            let found = destinations(&cluster).into_iter().filter(|(_, weight)| *weight > 0);
            prop_assert_eq!(found.map(|(ip, _)| ip).collect::<BTreeSet<_>>(), expected, "{}", cluster.story);
            let now = cluster.state();
            for node in BACKENDS {
                prop_assert_eq!(&now[node], &before[node]);
            }
        }
        cluster.delete(&web());
        cluster.settle();
        prop_assert_eq!(cluster.state(), clean);
        cluster.safety.check(&cluster.story);
    }
}
