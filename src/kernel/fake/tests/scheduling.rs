use std::collections::BTreeMap;

use super::*;
use crate::{
    kernel::fake::Delivery,
    model::{Flag, IpvsSetting, Persistence},
};

/// How many of `count` connections each machine answers.
fn spread(lan: &FakeLan, count: usize) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    for _ in 0..count {
        match lan.send("c", ip(VIP), 80, Protocol::Tcp).delivery {
            Delivery::Answered { by } => *answers.entry(by).or_default() += 1,
            other => panic!("{other:?}"),
        }
    }
    answers
}

fn weigh(lan: &FakeLan, real: &str, weight: u32) {
    lan.on("d", |machine| {
        machine.edit_destination(web(), ip(real), Destination::direct(weight))
    });
}

fn shares(r1: usize, r2: usize) -> BTreeMap<String, usize> {
    [("r1", r1), ("r2", r2)]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| (name.to_owned(), count))
        .collect()
}

#[test]
fn rr_ignores_weights_but_not_zero() {
    let lan = by_hand(Scheduler::Rr);
    weigh(&lan, "10.0.0.11", 7);
    assert_eq!(spread(&lan, 10), shares(5, 5));
    weigh(&lan, "10.0.0.11", 0);
    assert_eq!(spread(&lan, 10), shares(0, 10));
}

#[test]
fn wrr_shares_by_weight() {
    let lan = by_hand(Scheduler::Wrr);
    weigh(&lan, "10.0.0.12", 3);
    assert_eq!(spread(&lan, 400), shares(100, 300));
    weigh(&lan, "10.0.0.12", 0);
    assert_eq!(spread(&lan, 4), shares(4, 0));
}

#[test]
fn hashing_without_fallback_refuses_the_share_of_weight_zero() {
    let refused = |flags: &[Flag]| {
        let lan = by_hand(Scheduler::Mh);
        let settings = Service {
            flags: flags.to_vec(),
            ..service(Scheduler::Mh)
        };
        lan.on("d", |machine| machine.edit_service(web(), &settings));
        weigh(&lan, "10.0.0.11", 0);
        let sent = (0..200).map(|_| lan.send("c", ip(VIP), 80, Protocol::Tcp).delivery);
        sent.filter(|delivery| !matches!(delivery, Delivery::Answered { by } if by == "r2"))
            .count()
    };
    assert!((60..140).contains(&refused(&[Flag::Port])));
    assert_eq!(refused(&[Flag::Fallback, Flag::Port]), 0);
}

#[test]
fn every_scheduler_skips_weight_zero_and_finds_somebody() {
    for scheduler in Scheduler::ALL {
        // dh refuses a connection that it hashes to a destination of weight 0, and has no fallback flag.
        if scheduler == Scheduler::Dh {
            continue;
        }
        let lan = by_hand(scheduler.clone());
        if !scheduler.flags().is_empty() {
            let settings = Service {
                flags: vec![Flag::Fallback],
                ..service(scheduler.clone())
            };
            lan.on("d", |machine| machine.edit_service(web(), &settings));
        }
        for weight in [1, 100] {
            weigh(&lan, "10.0.0.11", 0);
            weigh(&lan, "10.0.0.12", weight);
            let expected = if scheduler == Scheduler::Ovf && weight == 1 {
                // ovf refuses when every destination has as many connections as its weight.
                1
            } else {
                20
            };
            assert_eq!(spread(&lan, expected), shares(0, expected), "{scheduler}");
        }
    }
}

/// Clients come back to the real server that they had.
fn with_persistence() -> FakeLan {
    let lan = by_hand(Scheduler::Rr);
    let sticky = Service {
        persistence: Some(Persistence {
            timeout_seconds: 300,
            prefix_length: 32,
        }),
        ..service(Scheduler::Rr)
    };
    lan.on("d", |machine| machine.edit_service(web(), &sticky));
    lan
}

#[test]
fn persistence_keeps_a_client_even_at_weight_zero() {
    let lan = with_persistence();
    assert_eq!(spread(&lan, 5), shares(5, 0));
    weigh(&lan, "10.0.0.11", 0);
    assert_eq!(spread(&lan, 5), shares(5, 0));
    lan.on("d", |m| m.del_destination(web(), ip("10.0.0.11")));
    assert_eq!(spread(&lan, 5), shares(0, 5));
}

#[test]
fn a_template_of_weight_zero_ends_if_the_setting_says_so() {
    let lan = with_persistence();
    let expire = |m: &mut Machine| m.set_ipvs(IpvsSetting::ExpireQuiescentTemplate, 1);
    lan.on("d", expire).unwrap().unwrap();
    assert_eq!(spread(&lan, 5), shares(5, 0));
    weigh(&lan, "10.0.0.11", 0);
    assert_eq!(spread(&lan, 5), shares(0, 5));
    weigh(&lan, "10.0.0.11", 1);
    assert_eq!(spread(&lan, 5), shares(0, 5), "it has a new template");
}

#[test]
fn mh_keeps_a_client_and_its_port_only_counts_when_told() {
    let lan = by_hand(Scheduler::Mh);
    let all = spread(&lan, 20);
    assert_eq!(all.len(), 1, "one client, one choice: {all:?}");
    let by_port = Service {
        flags: vec![Flag::Port],
        ..service(Scheduler::Mh)
    };
    lan.on("d", |machine| machine.edit_service(web(), &by_port));
    let all = spread(&lan, 200);
    assert!(all.values().all(|count| *count > 50), "{all:?}");
}

#[test]
fn the_turn_outlives_a_deletion() {
    let lan = by_hand(Scheduler::Rr);
    assert_eq!(spread(&lan, 1), shares(1, 0));
    lan.on("d", |m| m.del_destination(web(), ip("10.0.0.11")));
    assert_eq!(spread(&lan, 3), shares(0, 3));
}
