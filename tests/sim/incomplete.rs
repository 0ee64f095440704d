//! Directors that lack the module of a scheduler, so that they cannot serve everything behind a VIP.

use std::time::Duration;

use directway::{
    kernel::{Kernel, fake::Delivery},
    model::*,
    plan::Op,
};

use crate::{
    cluster::{Cluster, Talk},
    site::{BACKENDS, CLIENT, DIRECTORS, VIP, ip, key, web},
};

/// Longer than it takes to find out that a service is missing, to report it, and to move the VIP.
const MOVE: usize = 15;

/// TCP 443 on the VIP of web, with a scheduler of its own; web is preferably on `preferred`.
fn apply(cluster: &mut Cluster, preferred: &str) {
    let mut web = web();
    web.directors.preferred = Some(preferred.into());
    let mut tls = web.clone();
    tls.key = VsKey::new("shop", "tls");
    tls.uid = "3".to_owned();
    tls.created += 1;
    tls.ports[0].port = 443;
    tls.scheduler = Scheduler::Sh;
    cluster.apply(web);
    cluster.apply(tls);
}

/// Serves both VirtualServices, on `preferred`; requests must not be lost from now on.
fn serving(preferred: &str) -> Cluster {
    let mut cluster = Cluster::new(Talk::Reports);
    for name in BACKENDS {
        let machine = cluster
            .lan
            .on(name, |it| it.clone().listening(443, Protocol::Tcp));
        cluster.lan.on(name, |it| *it = machine.unwrap());
    }
    apply(&mut cluster, preferred);
    cluster.settle();
    assert_eq!(cluster.holders(VIP), [preferred]);
    cluster.safety.serving(true);
    cluster
}

/// Takes the module from a director's kernel, and the service with it.
fn lose(cluster: &Cluster, name: &str) {
    cluster
        .lan
        .on(name, |it| it.set_module(&Scheduler::Sh, false));
    let tls = key(VIP, 443, Protocol::Tcp);
    // As a reboot does.
    let _ = cluster.lan.kernel(name).apply(&[Op::DelService(tls)]);
}

fn rounds(cluster: &mut Cluster, count: usize) {
    for _ in 0..count {
        cluster.round();
    }
}

/// Whether a request to port 443 of the VIP is answered.
fn is_complete(cluster: &Cluster) -> bool {
    let trace = cluster.lan.send(CLIENT, ip(VIP), 443, Protocol::Tcp);
    cluster.lan.close(trace.flow);
    matches!(trace.delivery, Delivery::Answered { .. })
}

#[test]
fn the_vip_goes_to_a_director_that_serves_everything_and_comes_back_when_that_is_repaired() {
    let mut cluster = serving("d");
    lose(&cluster, "d");
    rounds(&mut cluster, 2);
    assert_eq!(cluster.holders(VIP), ["d"], "one failure moves nothing");
    rounds(&mut cluster, MOVE);
    let holders = cluster.holders(VIP);
    assert_eq!(holders.len(), 1, "{}", cluster.story);
    assert_ne!(holders, ["d"], "it is preferred, but serves less");
    assert!(is_complete(&cluster), "{}", cluster.story);
    // Nobody else serves everything: a cordoned holder keeps the VIP.
    for name in DIRECTORS.into_iter().filter(|name| *name != holders[0]) {
        lose(&cluster, name);
    }
    cluster.node(holders[0]).cordoned = true;
    rounds(&mut cluster, MOVE);
    assert_eq!(cluster.holders(VIP), holders, "{}", cluster.story);
    cluster.node(holders[0]).cordoned = false;
    cluster
        .lan
        .on("d", |it| it.set_module(&Scheduler::Sh, true));
    rounds(&mut cluster, 290);
    assert_eq!(cluster.holders(VIP), holders, "not before five minutes");
    rounds(&mut cluster, 10 + MOVE);
    assert_eq!(cluster.holders(VIP), ["d"], "{}", cluster.story);
    // The successor had the VIP first, or a request would have found nobody.
    cluster.safety.check(&cluster.story);
}

#[test]
fn a_vip_that_no_director_serves_completely_stays() {
    let mut cluster = serving("e");
    for name in DIRECTORS {
        lose(&cluster, name);
    }
    for _ in 0..2 * MOVE {
        cluster.round();
        assert_eq!(cluster.holders(VIP), ["e"], "{}", cluster.story);
    }
    cluster.safety.check(&cluster.story);
}

#[test]
fn a_director_that_serves_everything_takes_over_before_one_that_does_not() {
    for (lacks, other) in [("e", "f"), ("f", "e")] {
        let mut cluster = serving("d");
        lose(&cluster, lacks);
        rounds(&mut cluster, MOVE);
        assert_eq!(cluster.holders(VIP), ["d"]);
        cluster.safety.serving(false);
        cluster.safety.expect_power_loss();
        cluster.lan.power_off("d");
        cluster.wait_without("d", Duration::from_secs(2));
        let claim = AddressKey::new("eth0".parse().unwrap(), ip(VIP));
        let holds = |name: &str| cluster.observe(name).net.addresses.contains_key(&claim);
        assert_eq!(["e", "f"].map(holds), ["e", "f"].map(|name| name == other));
        assert!(is_complete(&cluster), "{}", cluster.story);
    }
}

/// The module comes and goes every few seconds: the VIP does not go with it.
#[test]
fn a_service_that_fails_and_succeeds_in_turn_moves_its_vip_once() {
    let mut cluster = serving("d");
    let (mut holder, mut moves) = ("d", 0);
    for _ in 0..12 {
        lose(&cluster, "d");
        for _ in 0..7 {
            cluster.round();
            let now = cluster.holders(VIP);
            moves += usize::from(now != [holder]);
            holder = now[0];
        }
        cluster
            .lan
            .on("d", |it| it.set_module(&Scheduler::Sh, true));
        for _ in 0..7 {
            cluster.round();
            let now = cluster.holders(VIP);
            moves += usize::from(now != [holder]);
            holder = now[0];
        }
    }
    assert_eq!(moves, 1, "{}", cluster.story);
    assert_ne!(holder, "d");
    cluster.safety.check(&cluster.story);
}

/// Directors that are real servers, too, have services only while they hold the VIP, so each finds out only then that it
/// lacks the module. The VIP visits each of them once.
#[test]
fn directors_that_find_out_only_as_holders_do_not_pass_the_vip_round_for_ever() {
    let mut cluster = serving("d");
    for name in DIRECTORS {
        let labels = &mut cluster.node(name).labels;
        labels.insert(BACKEND_LABEL.to_owned(), String::new());
        let machine = cluster.lan.on(name, |it| {
            let listens = it.clone().listening(443, Protocol::Tcp);
            listens.listening(80, Protocol::Tcp)
        });
        cluster.lan.on(name, |it| *it = machine.unwrap());
    }
    rounds(&mut cluster, MOVE);
    cluster.safety.serving(false);
    for name in DIRECTORS {
        lose(&cluster, name);
    }
    let (mut holder, mut moves) = (cluster.holders(VIP)[0], 0);
    for _ in 0..400 {
        cluster.round();
        let now = cluster.holders(VIP);
        moves += usize::from(now != [holder]);
        holder = now[0];
    }
    assert_eq!(holder, "d", "the preferred one, for all lack the same");
    assert!((1..=DIRECTORS.len()).contains(&moves), "{moves} moves");
}
