//! Which VIPs a director reports as not completely served, over many passes.

use std::time::Duration;

use super::{elected::pair, fixture::*};
use crate::{
    desired::{AfterPass, IncompleteVips, admit},
    model::*,
};

/// Director `d` with web on port 80 and tls on 443 of the same VIP, and what its passes have found so far.
struct Ground {
    lan: Lan,
    incomplete: IncompleteVips,
}

fn tls_key() -> ServiceKey {
    ServiceKey {
        port: 443,
        ..web_key()
    }
}

impl Ground {
    fn new() -> Self {
        let mut lan = pair();
        let mut tls = virtual_service("tls");
        tls.ports[0].port = 443;
        tls.scheduler = Scheduler::Sh;
        let object = (tls.key.clone(), Ok(tls.into()));
        lan.snapshot.virtual_services.extend([object]);
        Self {
            lan,
            incomplete: IncompleteVips::default(),
        }
    }

    /// A pass a second after the last one, in whose end the kernel has all services but `missing`. Returns whether the
    /// VIP is reported as incomplete.
    fn pass(&mut self, missing: &[ServiceKey]) -> bool {
        self.pass_after(1.0, missing)
    }

    fn pass_after(&mut self, seconds: f64, missing: &[ServiceKey]) -> bool {
        let lan = &mut self.lan;
        lan.now += Duration::from_secs_f64(seconds);
        let desired = lan.desired();
        let mut observed = lan.observed.clone();
        for (key, service) in &desired.net.services {
            if !missing.contains(key) {
                observed.net.services.insert(*key, service.clone());
            }
        }
        let admission = admit(&lan.snapshot);
        let after = AfterPass {
            node: &lan.node,
            snapshot: &lan.snapshot,
            admission: &admission,
            desired: &desired,
            observed: &observed,
        };
        self.incomplete.update(&after, lan.now);
        self.incomplete.vips().contains(ip(VIP))
    }

    /// As another director reads it.
    fn publish(&mut self) {
        let Peers::Reported(peers) = &mut self.lan.snapshot.peers else {
            panic!("no reports");
        };
        peers.entry("d".into()).or_default().incomplete = self.incomplete.vips();
    }

    fn tls(&mut self) -> &mut VirtualService {
        let known = &mut self.lan.snapshot.virtual_services;
        let tls = known.get_mut(&VsKey::new("shop", "tls")).unwrap();
        std::sync::Arc::make_mut(tls.as_mut().unwrap())
    }

    /// Makes `d` a real server, too: as a standby it has no services.
    fn is_real_server(&mut self) {
        let d = self.lan.snapshot.nodes.get_mut(&"d".into()).unwrap();
        d.labels.insert(BACKEND_LABEL.to_owned(), String::new());
    }

    fn hold(&mut self, holds: bool) {
        let held = &mut self.lan.elected.held;
        held.clear();
        if holds {
            held.insert(ip(VIP), [dev("eth0")].into());
        }
    }
}

const NOTHING: &[ServiceKey] = &[];

#[test]
fn a_vip_is_incomplete_after_one_of_its_services_was_missing_in_three_passes() {
    let mut ground = Ground::new();
    let tls = [tls_key()];
    assert!(!ground.pass(NOTHING));
    assert!(!ground.pass(&tls));
    assert!(!ground.pass(&tls));
    assert!(ground.incomplete.next_due(ground.lan.now).is_some());
    assert!(ground.pass(&tls));
    assert_eq!(ground.incomplete.next_due(ground.lan.now), None);
}

#[test]
fn passes_that_follow_each_other_at_once_count_for_nothing_yet() {
    let mut ground = Ground::new();
    for _ in 0..9 {
        assert!(!ground.pass_after(0.1, &[tls_key()]));
    }
    assert!(!ground.pass_after(0.1, NOTHING));
    for _ in 0..10 {
        assert!(!ground.pass_after(0.1, &[tls_key()]), "counted anew");
    }
    assert!(ground.pass_after(0.1, &[tls_key()]));
}

#[test]
fn two_services_that_fail_in_turn_are_not_one_that_fails() {
    let mut ground = Ground::new();
    for _ in 0..20 {
        assert!(!ground.pass(&[tls_key()]));
        assert!(!ground.pass(&[web_key()]));
    }
}

#[test]
fn a_service_that_could_not_be_edited_is_not_as_it_should_be() {
    let mut ground = Ground::new();
    let mut before = virtual_service("tls").settings(ip(VIP));
    before.scheduler = Scheduler::Wrr;
    let ours = &mut ground.lan;
    ours.observed.net.services.insert(tls_key(), before);
    ours.ledger.services.insert(tls_key());
    let found = [(); 3].map(|()| ground.pass(&[tls_key()]));
    assert_eq!(found, [false, false, true]);
}

#[test]
fn a_service_that_another_program_has_is_missing() {
    let mut ground = Ground::new();
    let foreign = virtual_service("tls").settings(ip(VIP));
    let services = &mut ground.lan.observed.net.services;
    services.insert(tls_key(), foreign);
    let found = [(); 3].map(|()| ground.pass(NOTHING));
    assert_eq!(found, [false, false, true]);
}

#[test]
fn it_is_complete_again_when_everything_was_served_for_five_minutes() {
    let mut ground = Ground::new();
    for _ in 0..3 {
        ground.pass(&[tls_key()]);
    }
    assert!(ground.pass(NOTHING));
    let due = ground.incomplete.next_due(ground.lan.now);
    assert_eq!(due, Some(Duration::from_secs(300)));
    assert!(ground.pass_after(299.0, NOTHING));
    assert!(ground.pass(&[tls_key()]), "the time begins anew");
    assert!(ground.pass(NOTHING));
    assert!(ground.pass_after(299.0, NOTHING));
    assert!(!ground.pass(NOTHING));
}

/// What fails and succeeds in turn, whatever the rhythm, takes the VIP away once in five minutes at most.
#[test]
fn a_service_that_fails_now_and_then_moves_its_vip_rarely() {
    const SECONDS: usize = 900;
    for (fails, succeeds) in [(1, 1), (2, 1), (3, 1), (5, 5), (3, 60), (3, 301)] {
        let mut ground = Ground::new();
        let (mut before, mut changes) = (false, 0);
        for second in 0..SECONDS {
            let is_missing = second % (fails + succeeds) < fails;
            let tls = [tls_key()];
            let now = ground.pass(if is_missing { &tls } else { NOTHING });
            changes += usize::from(now != before);
            before = now;
        }
        // There, and back if everything is served for long enough.
        let most = if succeeds > 300 { 2 * 3 } else { 1 };
        let least = usize::from(fails >= 3);
        assert!(
            (least..=most).contains(&changes),
            "{fails}/{succeeds}: {changes}"
        );
    }
}

#[test]
fn a_restarted_agent_goes_on_with_what_it_reported() {
    let mut ground = Ground::new();
    for _ in 0..3 {
        ground.pass(&[tls_key()]);
    }
    ground.publish();
    ground.incomplete = IncompleteVips::default();
    assert!(ground.pass(NOTHING));
    assert!(ground.pass_after(299.0, NOTHING));
    assert!(!ground.pass(NOTHING));
    // Only once: what it reports itself is no news.
    assert!(!ground.pass(NOTHING));
}

/// Nothing is tried on a standby that is a real server: otherwise the VIP would come back every five minutes to fail.
#[test]
fn a_standby_without_services_stays_incomplete_until_something_changes() {
    let mut ground = Ground::new();
    ground.is_real_server();
    assert!(!ground.pass(NOTHING), "nothing is known of it");
    ground.hold(true);
    for _ in 0..3 {
        ground.pass(&[tls_key()]);
    }
    ground.hold(false);
    assert!(ground.pass(NOTHING));
    assert!(ground.pass_after(3600.0, NOTHING));
    assert_eq!(ground.incomplete.next_due(ground.lan.now), None);
    // It serves everything in the end, for instance after a failover.
    let mut held = Ground {
        lan: ground.lan,
        incomplete: ground.incomplete.clone(),
    };
    held.hold(true);
    assert!(held.pass(NOTHING));
    assert!(!held.pass_after(300.0, NOTHING));
    // Or the VIP's services are others.
    ground = held;
    ground.hold(true);
    for _ in 0..3 {
        ground.pass(&[tls_key()]);
    }
    ground.hold(false);
    ground.tls().scheduler = Scheduler::Rr;
    assert!(ground.pass(NOTHING));
    assert!(ground.pass_after(299.0, NOTHING));
    assert!(!ground.pass(NOTHING));
}

#[test]
fn what_is_not_asked_of_this_director_any_more_is_forgotten() {
    let incomplete = || {
        let mut ground = Ground::new();
        let found = [(); 3].map(|()| ground.pass(&[tls_key()]));
        assert!(found[2]);
        ground
    };
    let mut ground = incomplete();
    ground.lan.snapshot.virtual_services.clear();
    assert!(!ground.pass(NOTHING));
    let mut ground = incomplete();
    let d = ground.lan.snapshot.nodes.get_mut(&"d".into()).unwrap();
    d.labels.clear();
    assert!(!ground.pass(NOTHING));
    let mut ground = incomplete();
    ground.lan.snapshot.undo = Some("now".to_owned());
    assert!(!ground.pass(NOTHING));
    let mut ground = incomplete();
    ground.lan.snapshot.peers = Peers::Silent;
    assert!(!ground.pass(&[tls_key()]), "nobody would hear of it");
}
