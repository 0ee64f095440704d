//! Switches that answer for dead hosts, strangers that have a VIP as their own address, directors that disagree.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use directway::{
    election::{
        Candidate, DirectorId, Election, ElectionConfig, Event, Meaning, Notice, PeerConfig,
        Received, Sender, Timing, VipConfig, VipState,
    },
    model::Mac,
};

use crate::{
    faults::Fault,
    host::{mac, vip},
    say::say,
    setup::{after, arm, fine, hasty, in_order, settle},
    wire::{Form, ms},
    world::World,
};

const STRANGER: Mac = Mac([2, 0, 0, 0, 0, 99]);

fn conflicts(world: &World, host: usize) -> Vec<&Notice> {
    let of_host = world
        .judge
        .seen
        .notices
        .iter()
        .filter(|(by, _)| *by == host);
    of_host
        .map(|(_, report)| report)
        .filter(|report| {
            matches!(
                report,
                Notice::Conflict { .. } | Notice::ConflictOver { .. }
            )
        })
        .collect()
}

#[test]
fn a_switch_that_answers_for_the_dead_delays_nothing() {
    let mut world = in_order(World::new(2, 1, hasty()), 0);
    world.others.cache.insert(vip(0), mac(0));
    world.apply(Fault::PowerLost(0, None));
    settle(&mut world, ms(1000));
    say(&format!(
        "a switch answers for the dead: nobody holds the VIP for {:?}",
        world.judge.seen.worst_gap
    ));
    assert!(world.judge.seen.worst_gap < ms(400));
}

#[test]
fn a_switch_that_answers_for_a_director_without_the_vip_blocks_nobody() {
    let mut world = in_order(World::new(2, 1, hasty()), 0);
    world.others.cache.insert(vip(0), mac(0));
    world.crash_agent(0);
    world.apply(Fault::AddressDeleted(0));
    after(&mut world, ms(2500));
    fine(&world);
    assert_eq!(world.holders(vip(0)), [1]);
    // It keeps the VIP, although the switch answers its probes for rivals.
    after(&mut world, ms(10_000));
    assert_eq!(world.holders(vip(0)), [1]);
    fine(&world);
}

#[test]
fn a_switch_that_answers_with_the_directors_own_mac_is_no_conflict() {
    let mut world = in_order(World::new(1, 1, hasty()), 0);
    world.others.cache.insert(vip(0), mac(0));
    world.apply(Fault::Unplugged(0, ms(300)));
    settle(&mut world, ms(3000));
    assert!(conflicts(&world, 0).is_empty());
}

#[test]
fn a_strangers_vip_is_left_alone_until_the_stranger_is_gone() {
    let mut world = World::new(2, 1, hasty());
    world.others.strangers.insert(vip(0), STRANGER);
    for host in 0..2 {
        world.start_agent(host);
    }
    arm(&mut world);
    world.judge.may_move();
    after(&mut world, ms(20_000));
    fine(&world);
    assert_eq!(world.holders(vip(0)), [0_usize; 0]);
    let conflict = Notice::Conflict {
        vip: vip(0),
        mac: STRANGER,
        director: None,
    };
    assert_eq!(conflicts(&world, 0), [&conflict], "told once");
    assert_eq!(
        world.hosts[0].election.as_ref().unwrap().vip_state(vip(0)),
        Some(VipState::Blocked {
            mac: Some(STRANGER)
        })
    );
    world.others.strangers.clear();
    settle(&mut world, ms(20_000));
    assert_eq!(
        conflicts(&world, 0),
        [&conflict, &Notice::ConflictOver { vip: vip(0) }]
    );
}

#[test]
fn a_stranger_who_appears_later_is_told_rarely_and_the_vip_stays() {
    let mut world = in_order(World::new(2, 1, hasty()), 0);
    world.run(ms(12_000));
    world.count = Some(Vec::new());
    world.others.strangers.insert(vip(0), STRANGER);
    after(&mut world, ms(40_000));
    fine(&world);
    assert_eq!(world.holders(vip(0)), [0]);
    let announced: usize = world
        .count
        .take()
        .unwrap()
        .iter()
        .map(|count| count.announcements)
        .sum();
    assert!(
        (4..=7).contains(&announced),
        "{announced} in 40 s: one each 10 s, and the refresh"
    );
    world.others.strangers.clear();
    settle(&mut world, ms(20_000));
    assert!(matches!(
        conflicts(&world, 0)[..],
        [
            Notice::Conflict {
                mac: STRANGER,
                director: None,
                ..
            },
            Notice::ConflictOver { .. }
        ]
    ));
}

#[test]
fn a_strangers_announcement_is_a_conflict_in_either_form() {
    for form in Form::ALL {
        let mut world = in_order(World::new(2, 1, hasty()), 0);
        world.run(ms(12_000));
        world.count = Some(Vec::new());
        for host in 0..2 {
            let announcement = form.announces(vip(0), STRANGER);
            world.give(host, Event::Received(announcement));
        }
        after(&mut world, ms(1000));
        let conflict = Notice::Conflict {
            vip: vip(0),
            mac: STRANGER,
            director: None,
        };
        for host in 0..2 {
            assert_eq!(conflicts(&world, host), [&conflict], "{form:?} d{host}");
        }
        let counts = world.count.take().unwrap();
        let announced: usize = counts.iter().map(|count| count.announcements).sum();
        assert_eq!(announced, 1, "{form:?}: the holder defends the VIP once");
        settle(&mut world, ms(20_000));
        assert_eq!(world.holders(vip(0)), [0], "{form:?}");
        let over = Notice::ConflictOver { vip: vip(0) };
        assert_eq!(conflicts(&world, 0), [&conflict, &over], "{form:?}");
    }
}

#[test]
fn who_only_asks_for_a_vip_delays_no_takeover() {
    let mut world = in_order(World::new(2, 1, hasty()), 0);
    world.apply(Fault::PowerLost(0, None));
    for _ in 0..40 {
        after(&mut world, ms(10));
        let probe = Received {
            from: STRANGER,
            has: None,
            meaning: Meaning::Request(vip(0)),
            to_us: false,
        };
        world.give(1, Event::Received(probe));
    }
    assert_eq!(world.holders(vip(0)), [1]);
    fine(&world);
}

/// Directors that disagree: those in `upside_down` read the order in reverse.
fn at_odds(hosts: usize, upside_down: &[usize]) -> World {
    let mut world = World::new(hosts, 1, hasty());
    world.upside_down = upside_down.iter().copied().collect();
    for host in 0..hosts {
        world.configure(host);
    }
    world
}

#[test]
fn directors_that_disagree_about_who_is_better_still_agree_on_one_holder() {
    // Each director takes itself for the better one; in the second round, each takes the other for it.
    for upside_down in [1, 0] {
        let mut world = at_odds(2, &[upside_down]);
        for apart in [0, 13, 97, 130] {
            for host in 0..2 {
                world.start_agent(host);
                after(&mut world, ms(apart));
            }
            after(&mut world, ms(2000));
            fine(&world);
            assert_eq!(world.holders(vip(0)).len(), 1, "{upside_down} {apart}");
            world.apply(Fault::Split(0, ms(1000)));
            after(&mut world, ms(1000));
            assert_eq!(world.holders(vip(0)).len(), 2);
            after(&mut world, ms(2500));
            fine(&world);
            assert_eq!(
                world.holders(vip(0)).len(),
                1,
                "{upside_down} {apart}, healed"
            );
            // The VIP stays there: the holder does not agree to a move, or the other director wants none.
            let holders = world.holders(vip(0));
            after(&mut world, ms(8000));
            assert_eq!(world.holders(vip(0)), holders);
            for host in 0..2 {
                world.apply(Fault::PowerLost(host, None));
                world.hosts[host].kernel = crate::host::Kernel::Alive;
            }
        }
    }
}

#[test]
fn a_holder_whose_rivals_agent_is_dead_gives_way() {
    for dead in 0..2 {
        let mut world = in_order(World::new(2, 1, hasty()), 0);
        world.apply(Fault::Split(0, ms(2000)));
        after(&mut world, ms(1000));
        world.crash_agent(dead);
        after(&mut world, ms(1000 + 1000));
        fine(&world);
        assert_eq!(
            world.holders(vip(0)),
            [dead],
            "its kernel cannot be told to stop"
        );
    }
}

#[test]
fn lost_frames_are_a_reason_to_ask_again() {
    let mut world = in_order(World::new(2, 1, hasty()), 0);
    world.count = Some(Vec::new());
    let holder = world.holders(vip(0))[0];
    world.give(holder, Event::Missed);
    // At rest a holder probes once a second.
    after(&mut world, ms(200));
    let probes: usize = world
        .count
        .take()
        .unwrap()
        .iter()
        .map(|count| count.broadcasts)
        .sum();
    assert!(probes >= 2, "{probes}");
    settle(&mut world, ms(1000));
    assert_eq!(world.judge.seen.worst_gap, Duration::ZERO);
}

#[test]
fn a_peer_with_another_mac_is_found_again() {
    let mut world = in_order(World::new(2, 1, hasty()), 0);
    world.hosts[1].mac = Mac([2, 0, 0, 0, 0, 77]);
    let peer = world.hosts[1].id;
    let answers = |world: &World| world.hosts[0].election.as_ref().unwrap().answers(peer);
    after(&mut world, ms(250));
    assert_eq!(answers(&world), Some(false));
    after(&mut world, ms(1500));
    assert_eq!(answers(&world), Some(true));
    fine(&world);
}

/// Types and rules are the same for IPv6; what differs is in the frames.
#[test]
fn an_ipv6_vip_is_probed_and_claimed_alike() {
    let ip = |last: &str| format!("2001:db8::{last}").parse::<IpAddr>().unwrap();
    let (me, peer, vip) = (DirectorId(ip("1")), DirectorId(ip("2")), ip("100"));
    let peer_mac = mac(1);
    let candidate = |director| Candidate {
        director,
        ready: true,
    };
    let known = PeerConfig {
        name: "d1".into(),
        mac: Some(peer_mac),
    };
    let wanted = VipConfig {
        reported: BTreeSet::new(),
        order: vec![candidate(me), candidate(peer)],
        on_request: false,
    };
    let config = ElectionConfig {
        me,
        macs: BTreeSet::from([mac(0)]),
        peers: [(peer, known)].into(),
        vips: [(vip, Arc::new(wanted))].into(),
        fresh: true,
    };
    let (mut election, actions) = Election::new(
        Arc::new(Timing::default()),
        Arc::new(config),
        &BTreeSet::new(),
        true,
        ms(1000),
    );
    let mut now = actions.wake.unwrap();
    let mut probes = 0;
    let claimed = loop {
        let actions = election.handle(Event::Tick, now);
        for question in &actions.questions {
            if question.about == peer.0 {
                let answer = Received {
                    from: peer_mac,
                    has: Some(peer.0),
                    meaning: Meaning::Reply(Some(me.0)),
                    to_us: true,
                };
                election.handle(Event::Received(answer), now);
            }
            probes += usize::from(question.about == vip && question.sender == Sender::Unspecified);
        }
        if !actions.claims.is_empty() {
            break actions.claims;
        }
        now = actions.wake.unwrap().max(now + ms(1));
        assert!(now < ms(2000), "no claim");
    };
    assert_eq!((claimed, probes), (BTreeSet::from([vip]), 3));
}
