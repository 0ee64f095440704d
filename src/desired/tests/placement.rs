use std::{collections::BTreeMap, net::IpAddr};

use super::fixture::*;
use crate::{desired::holder, model::*};

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

fn holders(snapshot: &Snapshot) -> Vec<NodeName> {
    let web = virtual_service("web");
    let vips = (0..1000u32).map(|host| IpAddr::V4((0x0a4d_0000 + host).into()));
    vips.map(|vip| holder(&web, vip, snapshot).unwrap().clone())
        .collect()
}

#[test]
fn a_new_director_moves_only_what_it_gets() {
    let (three, four) = (holders(&directors(3)), holders(&directors(4)));
    let newcomer = NodeName::from("d3");
    let moved = three
        .iter()
        .zip(&four)
        .filter(|(before, after)| before != after)
        .count();
    assert!(
        three
            .iter()
            .zip(&four)
            .all(|(before, after)| before == after || *after == newcomer)
    );
    assert!(
        (200..=300).contains(&moved),
        "{moved} of 1000 VIPs moved to the fourth director"
    );
}

#[test]
fn the_preferred_director_wins_only_while_it_is_one() {
    let snapshot = directors(3);
    let mut web = virtual_service("web");
    for name in ["d0", "d1", "d2"] {
        web.directors.preferred = Some(name.into());
        assert_eq!(holder(&web, ip(VIP), &snapshot), Some(&name.into()));
    }
    let plain = virtual_service("web");
    let unpreferred = holder(&plain, ip(VIP), &snapshot);
    web.directors.preferred = Some("elsewhere".into());
    assert_eq!(holder(&web, ip(VIP), &snapshot), unpreferred);
}

#[test]
fn without_a_director_nobody_holds() {
    assert_eq!(
        holder(&virtual_service("web"), ip(VIP), &Snapshot::default()),
        None
    );
}
