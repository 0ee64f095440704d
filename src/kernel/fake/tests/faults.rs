use std::sync::{Arc, Mutex};

use super::*;
use crate::{
    kernel::{
        Kernel, OpError,
        fake::{Errno, Misfortune},
    },
    model::{AddressKey, Role},
    plan::Op,
};

fn add(address: &str) -> Op {
    Op::AddAddress(AddressKey::new(Dev::lo(), ip(address)), Role::Quiet)
}

fn bound(lan: &FakeLan) -> usize {
    lan.on("d", |machine| machine.net().addresses.len())
        .unwrap()
}

#[test]
fn the_nth_op_fails_once() {
    let lan = FakeLan::new();
    lan.add("d", host(10));
    let before = bound(&lan);
    lan.fail_op("d", 1, Errno::Invalid);
    let mut kernel = lan.kernel("d");
    let results = kernel.apply(&[add("10.0.0.100"), add("10.0.0.101"), add("10.0.0.102")]);
    let failed: Vec<bool> = results.iter().map(Result::is_err).collect();
    assert_eq!(failed, [false, true, false]);
    assert_eq!(bound(&lan), before + 2);
    assert_eq!(lan.ops("d"), 2);
    assert_eq!(kernel.apply(&[add("10.0.0.101")]), [Ok(())]);
}

#[test]
fn a_killed_agent_leaves_the_machine_as_it_is() {
    let lan = FakeLan::new();
    lan.add("d", host(10));
    let before = bound(&lan);
    lan.expect(Some(Misfortune::KilledAfter(1)));
    let mut kernel = lan.kernel("d");
    let results = kernel.apply(&[add("10.0.0.100"), add("10.0.0.101")]);
    assert_eq!(results[0], Ok(()));
    assert!(matches!(results[1], Err(OpError::Unsent(_))));
    assert!(lan.is_killed("d") && kernel.observe().is_err());
    assert_eq!(bound(&lan), before + 1);
    lan.revive("d");
    let mut next = lan.kernel("d");
    assert_eq!(next.apply(&[add("10.0.0.101")]), [Ok(())]);
}

#[test]
fn a_loss_of_power_forgets_all_and_silences_the_wire() {
    let lan = by_hand(Scheduler::Rr);
    let before = lan.on("d", |machine| machine.net()).unwrap();
    lan.power_off("d");
    assert!(lan.who_has("c", ip(VIP)).is_empty());
    assert!(lan.kernel("d").observe().is_err());
    lan.power_on("d");
    let after = lan.on("d", |machine| machine.net()).unwrap();
    assert!(before.carries(ip(VIP)) && !after.carries(ip(VIP)));
    assert!(after.services.is_empty() && lan.who_has("c", ip(VIP)).is_empty());
}

#[test]
fn watchers_see_the_lan_after_every_accepted_effect() {
    let lan = FakeLan::new();
    lan.add("c", host(1));
    lan.add("d", host(10));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    lan.after_every_effect(move |lan, name, effect| {
        let answers = lan.who_has("c", ip(VIP)).len();
        notes
            .lock()
            .unwrap()
            .push((name.to_owned(), effect.to_string(), answers));
    });
    lan.kernel("d")
        .apply(&[add("10.0.0.101"), add(VIP), add(VIP)]);
    let bound = |ip, answers| ("d".to_owned(), add(ip).to_string(), answers);
    let expected = [bound("10.0.0.101", 0), bound(VIP, 1)];
    assert_eq!(*seen.lock().unwrap(), expected);
}
