//! Claims whose probe is asked beside the passes, as in a running agent.

use std::sync::mpsc::{self, Receiver};

use super::*;
use crate::agent::{Asking, Told};

/// A world whose director hands its questions over, and where they go.
fn world() -> (World, Receiver<Asking>) {
    // With reports of its real servers the director asks the wire nothing about the VIP but this.
    let mut world = World::new(true);
    let (asker, asked) = mpsc::channel();
    let agent = world.agent("d");
    agent.passes = Passes::new("d".into(), agent.run_dir.path()).with_asker(asker);
    (world, asked)
}

/// Asks what was handed over, and tells the director.
fn answer(world: &mut World, asked: &Receiver<Asking>) -> bool {
    let mut asking = Asking::default();
    while let Ok(more) = asked.try_recv() {
        asking.extend(more);
    }
    let (told, result): (Told, _) = asking.ask(&mut world.lan.kernel("d"));
    result.unwrap();
    let now = world.now;
    world.agent("d").passes.hear(told, now)
}

fn claims(end: &Summary) -> bool {
    let claim = "ip addr add 10.0.0.100/32 dev eth0 proto 215";
    end.ops.iter().any(|op| op == claim)
}

#[test]
fn a_claim_follows_its_probe_and_nothing_else_waits() {
    let (mut world, asked) = world();
    let (first, _) = world.pass("d");
    assert!(!claims(&first) && !first.ops.is_empty(), "{first:?}");
    assert!(first.ops.iter().any(|op| op.starts_with("ipvsadm -A")));
    let (second, _) = world.pass("d");
    assert!(!claims(&second), "claimed without an answer: {second:?}");
    assert!(matches!(second.next, Next::Within(_)), "a lost answer");
    assert!(answer(&mut world, &asked), "not worth a pass");
    let (third, report) = world.pass("d");
    assert!(claims(&third), "{third:?}");
    assert_eq!(third.drift, 0, "its own claim is no drift");
    assert!(report.unwrap().peer.held.contains(VIP));
    let (fourth, _) = world.pass("d");
    assert_eq!(fourth.ops, [""; 0]);
}

#[test]
fn who_answers_the_probe_keeps_the_vip() {
    let (mut world, asked) = world();
    let stranger = Machine::new().nic(&eth0(), "lan", ["10.0.0.100/24".parse().unwrap()]);
    world.lan.add("stranger", stranger);
    world.pass("d");
    assert!(answer(&mut world, &asked));
    let (end, report) = world.pass("d");
    assert!(!claims(&end), "{end:?}");
    let refused = report.unwrap().refused;
    assert!(
        refused.values().any(|it| it.reason == Reason::VipConflict),
        "{refused:?}"
    );
    assert_eq!(world.lan.claimants(VIP), ["stranger".to_owned()].into());
}

#[test]
fn who_comes_between_probe_and_a_late_claim_is_found_by_another_probe() {
    let (mut world, asked) = world();
    world.pass("d");
    assert!(answer(&mut world, &asked));
    world.now += Duration::from_secs(2);
    let (late, _) = world.pass("d");
    assert!(!claims(&late), "old silence was believed: {late:?}");
    assert!(answer(&mut world, &asked));
    let (end, _) = world.pass("d");
    assert!(claims(&end), "{end:?}");
}
