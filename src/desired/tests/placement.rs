use std::{collections::BTreeMap, net::IpAddr};

use super::fixture::*;
use crate::{
    desired::{admit, placement, presumed, stands_by},
    model::*,
};

fn directors(count: usize) -> Snapshot {
    let labels = BTreeMap::from([(DIRECTOR_LABEL.to_owned(), String::new())]);
    let node = Node {
        labels,
        ..Node::default()
    };
    let nodes = (0..count)
        .map(|index| (NodeName(format!("d{index}")), node.clone()))
        .collect();
    Snapshot {
        nodes,
        ..Snapshot::default()
    }
}

/// Who should hold which of 1,000 VIPs.
fn holders(snapshot: &Snapshot, preferred: Option<&str>) -> Vec<NodeName> {
    let mut snapshot = snapshot.clone();
    for host in 0..1000u32 {
        let mut web = virtual_service(&format!("web-{host}"));
        web.vips = vec![IpAddr::V4((0x0a4d_0000 + host).into())];
        web.directors.preferred = preferred.map(NodeName::from);
        let key = web.key.clone();
        snapshot.virtual_services.insert(key, Ok(web.into()));
    }
    let admission = admit(&snapshot);
    let placement = placement(&snapshot, &admission);
    let first = placement.orders.values().map(|order| order[0].clone());
    first.collect()
}

fn count(holders: &[NodeName], name: &str) -> usize {
    holders.iter().filter(|holder| holder.0 == name).count()
}

/// A director that is a real server, too, answers clients itself: with the VIP bound it could take it over.
#[test]
fn a_director_that_is_drained_as_a_real_server_needs_others_to_stand_by() {
    let stands_by = |change: fn(&mut Node), on_cordon| {
        let mut snapshot = directors(1);
        let node = snapshot.nodes.get_mut(&"d0".into()).unwrap();
        node.labels.insert(BACKEND_LABEL.to_owned(), String::new());
        change(node);
        let report = PeerState {
            bound: [ip(VIP)].into_iter().collect(),
            ..PeerState::default()
        };
        snapshot.peers = Peers::Reported([("d0".into(), report)].into());
        stands_by(&"d0".into(), ip(VIP), on_cordon, &snapshot)
    };
    assert!(stands_by(|_| {}, CordonPolicy::Drain));
    assert!(stands_by(|node| node.cordoned = true, CordonPolicy::Ignore));
    assert!(!stands_by(|node| node.cordoned = true, CordonPolicy::Drain));
    assert!(!stands_by(|node| node.drained = true, CordonPolicy::Ignore));
}

#[test]
fn a_new_director_moves_only_what_it_gets() {
    let (three, four) = (holders(&directors(3), None), holders(&directors(4), None));
    let newcomer = NodeName::from("d3");
    let moved = three.iter().zip(&four);
    let moved: Vec<_> = moved.filter(|(before, after)| before != after).collect();
    let elsewhere = moved
        .iter()
        .filter(|(_, after)| **after != newcomer)
        .count();
    assert!(
        (150..=313).contains(&(moved.len() - elsewhere)) && elsewhere < 50,
        "of 1000 VIPs {} moved, {elsewhere} of them not to the fourth director",
        moved.len()
    );
}

#[test]
fn no_director_holds_more_than_a_quarter_above_its_share() {
    for directors_ in 2..6 {
        let holders = holders(&directors(directors_), None);
        let bound = (1000 * 5usize).div_ceil(directors_ * 4);
        for index in 0..directors_ {
            let held = count(&holders, &format!("d{index}"));
            assert!(held <= bound, "{held} of {directors_}");
        }
    }
}

#[test]
fn a_cordoned_director_holds_nothing_even_where_it_is_preferred() {
    let mut snapshot = directors(3);
    snapshot.nodes.get_mut(&"d1".into()).unwrap().cordoned = true;
    for preferred in [None, Some("d1")] {
        assert_eq!(count(&holders(&snapshot, preferred), "d1"), 0);
    }
}

#[test]
fn the_preferred_director_wins_only_while_it_is_one() {
    let snapshot = directors(3);
    assert_eq!(count(&holders(&snapshot, Some("d2")), "d2"), 1000);
    let unpreferred = holders(&snapshot, None);
    assert_eq!(holders(&snapshot, Some("elsewhere")), unpreferred);
}

#[test]
fn without_a_director_nobody_holds() {
    let mut snapshot = Snapshot::default();
    let web = virtual_service("web");
    snapshot
        .virtual_services
        .insert(web.key.clone(), Ok(web.into()));
    let admission = admit(&snapshot);
    assert_eq!(placement(&snapshot, &admission).first(ip(VIP)), None);
}

/// Directors `d0` to `d2` and the VirtualService web; `incomplete` report that they cannot serve all of its VIP.
fn reporting(incomplete: &[&str]) -> Snapshot {
    let mut snapshot = directors(3);
    let web = virtual_service("web");
    snapshot
        .virtual_services
        .insert(web.key.clone(), Ok(web.into()));
    let peers = snapshot.nodes.keys().map(|name| {
        let mut peer = PeerState::default();
        if incomplete.contains(&name.0.as_str()) {
            peer.incomplete = [ip(VIP)].into();
        }
        (name.clone(), peer)
    });
    snapshot.peers = Peers::Reported(peers.collect());
    snapshot
}

fn order(snapshot: &Snapshot) -> Vec<String> {
    let admission = admit(snapshot);
    let placement = placement(snapshot, &admission);
    let order = placement.order(ip(VIP)).iter();
    order.map(|name| name.0.clone()).collect()
}

#[test]
fn a_director_that_says_that_it_cannot_serve_everything_comes_last() {
    let plain = order(&reporting(&[]));
    let first = plain[0].as_str();
    assert_eq!(order(&reporting(&[first]))[2], first);
    assert_eq!(order(&reporting(&["d0", "d1", "d2"])), plain);
    let mut snapshot = reporting(&[first]);
    snapshot.peers = Peers::Silent;
    assert_eq!(order(&snapshot), plain, "nobody can say so");
}

#[test]
fn a_report_takes_vips_from_its_own_node_only_and_gives_none_to_a_node_that_is_no_director() {
    let plain = order(&reporting(&[]));
    let mut snapshot = reporting(&[]);
    let Peers::Reported(peers) = &mut snapshot.peers else {
        panic!("no reports");
    };
    let other = PeerState {
        incomplete: [ip(VIP)].into(),
        ..PeerState::default()
    };
    peers.insert("no-director".into(), other);
    assert_eq!(order(&snapshot), plain);
    // All but one director of the VIP are unlabelled: it holds what it cannot serve completely.
    let mut snapshot = reporting(&["d1"]);
    for name in ["d0", "d2"] {
        snapshot.nodes.get_mut(&name.into()).unwrap().labels.clear();
    }
    assert_eq!(order(&snapshot), ["d1"]);
}

#[test]
fn a_cordoned_director_keeps_what_no_other_one_serves_completely() {
    let mut snapshot = reporting(&["d0", "d1"]);
    snapshot.nodes.get_mut(&"d2".into()).unwrap().cordoned = true;
    assert_eq!(order(&snapshot)[0], "d2");
    let mut snapshot = reporting(&["d0"]);
    snapshot.nodes.get_mut(&"d2".into()).unwrap().cordoned = true;
    assert_eq!(order(&snapshot), ["d1", "d2", "d0"]);
}

/// What forecasts presume follows the same order.
#[test]
fn a_holder_that_serves_less_than_another_is_presumed_to_give_its_vip_away() {
    let holders = |incomplete: &[&str]| {
        let mut lan = super::elected::pair();
        let Peers::Reported(peers) = &mut lan.snapshot.peers else {
            panic!("no reports");
        };
        peers.entry("d".into()).or_default().held = [ip(VIP)].into();
        peers.entry("e".into()).or_default();
        for name in incomplete {
            peers.get_mut(&NodeName::from(*name)).unwrap().incomplete = [ip(VIP)].into();
        }
        let admission = admit(&lan.snapshot);
        let wire = WireEvidence::default();
        let holds = |name: &str| {
            let elected = presumed(
                &name.into(),
                &lan.snapshot,
                &admission,
                &lan.observed,
                &wire,
            );
            elected.held.contains_key(&ip(VIP))
        };
        ["d", "e"].map(holds)
    };
    assert_eq!(holders(&[]), [true, false], "it keeps the VIP");
    assert_eq!(holders(&["d"]), [false, true]);
    assert_eq!(
        holders(&["d", "e"]),
        [true, false],
        "the other is no better"
    );
}
