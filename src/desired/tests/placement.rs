use std::{collections::BTreeMap, net::IpAddr};

use super::fixture::*;
use crate::{
    desired::{admit, placement},
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
