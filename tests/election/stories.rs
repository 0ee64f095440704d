//! Single stories of directors that come, go and hand over.

use std::time::Duration;

use directway::election::{GiveCause, Notice, TakeCause, Timing};

use crate::{
    faults::Fault,
    host::{Agent, vip},
    say::say,
    setup::{after, all_on_first, fine, hasty, in_order, settle, until_in_order},
    wire::ms,
    world::World,
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How long the VIP has no holder after its holder dies, at 50 moments between two liveness questions.
#[test]
fn a_dead_holders_vip_is_claimed_within_the_budget() {
    let mut gaps = Vec::new();
    for phase in 0..50 {
        let mut world = in_order(World::new(2, 1, Timing::default()), 0);
        after(&mut world, ms(phase));
        world.apply(Fault::PowerLost(0, None));
        settle(&mut world, ms(1000));
        gaps.push(world.judge.seen.worst_gap);
    }
    gaps.sort_unstable();
    let worst = gaps[gaps.len() - 1];
    say(&format!(
        "a holder dies: nobody holds its VIP for {:?} (median), {worst:?} (worst of 50)",
        gaps[25]
    ));
    // Adding the VIP to the NIC comes on top.
    assert!(worst <= Timing::default().takeover() + ms(5), "{gaps:?}");
}

/// A director returns from the other half of the segment with the VIP and hands it over at once, while the agent of the
/// holder in this half stands still. The successor must find that holder, of which its predecessor never heard.
#[test]
fn a_successor_finds_a_holder_that_its_predecessor_could_not_hear() {
    for phase in 0..50 {
        let mut world = in_order(World::new(3, 1, hasty()), 0);
        after(&mut world, ms(phase * 20));
        world.apply(Fault::AgentPaused(0, ms(1600)));
        world.apply(Fault::Split(2, ms(373)));
        world.apply(Fault::Preferred(1));
        settle(&mut world, ms(4000));
        assert_eq!(world.holders(vip(0)), [1]);
    }
}

/// A holder probes for rivals just before the segment is whole again, and gets no answer. That does not prove that the
/// other half has no holder: the agent there stands still, but its kernel has the VIP.
#[test]
fn silence_from_before_the_wire_was_whole_is_no_answer() {
    for phase in 0..50 {
        let mut world = in_order(World::new(3, 1, hasty()), 0);
        world.apply(Fault::Split(0, ms(1100)));
        after(&mut world, ms(690 + phase * 2));
        world.apply(Fault::Frozen(0, ms(330)));
        world.apply(Fault::AgentPaused(1, ms(1370)));
        settle(&mut world, ms(5000));
    }
}

/// Two directors ask the holder for its VIP at once, because one of them has not read yet that the other one comes first.
/// The holder would give it to either, but agrees with one at a time.
#[test]
fn two_directors_that_ask_for_a_vip_at_once_do_not_both_get_it() {
    for phase in 0..60 {
        let mut world = in_order(all_on_first(3, 1, hasty()), phase);
        world.apply(Fault::PreferredLate(2, ms(300)));
        after(&mut world, ms(phase));
        for order in world.orders.values_mut() {
            *order = vec![1, 2, 0];
        }
        world.configure(0);
        world.configure(1);
        settle(&mut world, seconds(5));
        assert_eq!(world.holders(vip(0)), [1]);
    }
}

#[test]
fn the_second_successor_takes_over_when_the_first_ones_agent_is_dead() {
    let mut world = in_order(World::new(3, 1, hasty()), 0);
    world.crash_agent(1);
    after(&mut world, ms(500));
    world.apply(Fault::PowerLost(0, None));
    after(&mut world, ms(1000));
    fine(&world);
    assert_eq!(world.holders(vip(0)), [2]);
    assert!(
        world.judge.seen.worst_gap < ms(290) + hasty().turn + ms(5),
        "{:?}",
        world.judge.seen.worst_gap
    );
}

#[test]
fn a_successor_that_stands_still_again_and_again_keeps_nobody_waiting() {
    let mut world = in_order(World::new(3, 1, hasty()), 0);
    for _ in 0..40 {
        world.apply(Fault::AgentPaused(1, ms(230)));
        after(&mut world, ms(250));
        if world.now > ms(5000) && world.hosts[0].is_on_wire() {
            world.apply(Fault::PowerLost(0, None));
        }
    }
    fine(&world);
    assert!(
        world.judge.seen.worst_gap < ms(1500),
        "{:?}",
        world.judge.seen.worst_gap
    );
}

#[test]
fn agents_that_stand_still_crash_or_restart_move_nothing() {
    let mut world = in_order(World::new(3, 6, hasty()), 0);
    for host in 0..3 {
        world.apply(Fault::AgentPaused(host, seconds(10)));
        after(&mut world, seconds(12));
        world.apply(Fault::AgentDies(host, seconds(5)));
        after(&mut world, seconds(9));
    }
    // All agents are upgraded at once, too.
    for host in 0..3 {
        world.apply(Fault::AgentDies(host, ms(700)));
    }
    settle(&mut world, seconds(5));
    assert_eq!(world.judge.seen.worst_gap, Duration::ZERO);
    assert_eq!(world.judge.seen.worst_double, Duration::ZERO);
}

#[test]
fn a_starved_holder_keeps_its_vip() {
    let mut world = in_order(World::new(2, 1, hasty()), 0);
    for step in 0..60 {
        world.apply(Fault::AgentPaused(0, ms(40 + step * 7)));
        after(&mut world, ms(60 + step * 7));
    }
    settle(&mut world, ms(1000));
    assert_eq!(world.judge.seen.worst_gap, Duration::ZERO);
}

#[test]
fn a_planned_move_leaves_no_moment_without_a_holder() {
    let mut world = in_order(World::new(3, 60, hasty()), 0);
    for to in [2, 0, 1] {
        world.apply(Fault::Preferred(to));
        settle(&mut world, seconds(4));
    }
    let seen = &world.judge.seen;
    say(&format!(
        "60 VIPs moved on request three times: two holders for at most {:?} each",
        seen.worst_planned
    ));
    assert_eq!(
        (seen.worst_gap, seen.worst_double),
        (Duration::ZERO, Duration::ZERO)
    );
    assert!(seen.worst_planned > Duration::ZERO);
}

#[test]
fn a_holder_without_an_agent_is_left_alone() {
    let mut world = in_order(World::new(2, 1, hasty()), 0);
    world.crash_agent(0);
    world.apply(Fault::Preferred(1));
    after(&mut world, seconds(5));
    fine(&world);
    assert_eq!(world.holders(vip(0)), [0], "it would not yield");
    let refused = |(host, report): &(usize, Notice)| {
        *host == 1 && matches!(report, Notice::MoveRefused { .. })
    };
    assert!(world.judge.seen.notices.iter().any(refused));
    world.start_agent(0);
    settle(&mut world, seconds(5));
    assert_eq!(world.holders(vip(0)), [1]);
}

#[test]
fn without_sources_nothing_is_moved_but_everything_fails_over() {
    let mut world = in_order(World::new(2, 1, hasty()), 0);
    world.apply(Fault::PowerLost(0, Some(ms(500))));
    world.fresh = false;
    world.configure(1);
    after(&mut world, ms(400));
    assert_eq!(world.holders(vip(0)), [1]);
    // Its agent starts without fresh sources, too.
    world.configure(0);
    after(&mut world, seconds(10));
    fine(&world);
    assert_eq!(
        world.holders(vip(0)),
        [1],
        "a preference is no reason to move without sources"
    );
    world.fresh = true;
    world.apply(Fault::SourcesCatchUp);
    settle(&mut world, seconds(4));
    assert_eq!(world.holders(vip(0)), [0]);
}

#[test]
fn a_director_that_returns_waits_for_the_hold_down_and_one_that_flaps_gets_nothing() {
    let timing = Timing::default();
    let mut world = in_order(World::new(2, 1, timing.clone()), 0);
    let mut takes = 0;
    for _ in 0..6 {
        world.apply(Fault::PowerLost(0, Some(ms(400))));
        after(&mut world, ms(5000));
        takes += usize::from(world.holders(vip(0)) == [0]);
    }
    assert_eq!(takes, 0, "it was never up for 10 s");
    let back = until_in_order(&mut world, timing.hold_down);
    let after_boot = back + ms(5000 - 437);
    assert!(
        after_boot >= timing.hold_down && after_boot < timing.hold_down + ms(500),
        "{after_boot:?}"
    );
    assert!(world.judge.seen.worst_gap < ms(300));
}

#[test]
fn carrier_loss_takes_the_vip_from_the_nic_and_it_returns_by_a_probe_only() {
    let mut world = in_order(World::new(1, 1, hasty()), 0);
    world.apply(Fault::Unplugged(0, ms(700)));
    after(&mut world, ms(2));
    assert!(world.hosts[0].nic.is_empty(), "at once");
    after(&mut world, ms(698 + 60));
    assert!(world.hosts[0].nic.is_empty(), "still asking");
    settle(&mut world, ms(100));
}

#[test]
fn a_director_that_is_not_ready_is_the_last_resort() {
    let mut world = World::new(3, 1, hasty());
    world.ready = vec![true, false, true];
    for host in 0..3 {
        world.configure(host);
    }
    let mut world = in_order(world, 0);
    world.apply(Fault::PowerLost(0, None));
    after(&mut world, ms(500));
    assert_eq!(world.holders(vip(0)), [2], "although 1 is the next in line");
    world.apply(Fault::PowerLost(2, None));
    after(&mut world, ms(500));
    assert_eq!(world.holders(vip(0)), [1], "nobody else is left");
    fine(&world);
}

#[test]
fn one_that_is_not_ready_waits_longer_for_one_that_is_but_not_for_ever() {
    let mut world = World::new(3, 1, hasty());
    world.ready = vec![true, false, true];
    for host in 0..3 {
        world.configure(host);
    }
    let mut world = in_order(world, 0);
    // Its kernel answers, so that the others take it for up, but without an agent it never claims.
    world.crash_agent(2);
    world.apply(Fault::PowerLost(0, None));
    after(&mut world, hasty().patience - ms(100));
    assert_eq!(world.holders(vip(0)), [0_usize; 0]);
    after(&mut world, ms(800));
    assert_eq!(world.holders(vip(0)), [1]);
    fine(&world);
}

#[test]
fn a_director_that_may_no_longer_hold_a_vip_keeps_it_until_a_successor_has_it() {
    let mut world = in_order(World::new(2, 1, hasty()), 0);
    world.orders.insert(vip(0), vec![1]);
    world.apply(Fault::SourcesCatchUp);
    settle(&mut world, seconds(2));
    assert_eq!(world.judge.seen.worst_gap, Duration::ZERO);
    // Now the other one may not hold it either, and no successor is left.
    world.orders.insert(vip(0), vec![]);
    world.apply(Fault::SourcesCatchUp);
    after(&mut world, ms(10));
    assert_eq!(world.holders(vip(0)), [0_usize; 0]);
    let gave = |(host, report): &(usize, Notice)| {
        *host == 1
            && matches!(
                report,
                Notice::Gave {
                    cause: GiveCause::NotWanted,
                    ..
                }
            )
    };
    assert!(world.judge.seen.notices.iter().any(gave));
}

/// A holder that may no longer hold the VIP keeps it until its successor is ready.
#[test]
fn nobody_is_relieved_by_one_that_is_not_ready() {
    let mut world = in_order(World::new(2, 1, hasty()), 0);
    let holder = world.holders(vip(0))[0];
    world.orders.insert(vip(0), vec![1 - holder]);
    world.ready[1 - holder] = false;
    world.apply(Fault::SourcesCatchUp);
    after(&mut world, seconds(3));
    assert_eq!(world.holders(vip(0)), [holder]);
    world.ready[1 - holder] = true;
    world.apply(Fault::SourcesCatchUp);
    after(&mut world, hasty().hold_down + ms(300));
    fine(&world);
    assert_eq!(world.holders(vip(0)), [1 - holder]);
    assert_eq!(world.judge.seen.worst_gap, Duration::ZERO);
}

#[test]
fn a_successor_that_never_comes_is_not_waited_for_for_ever() {
    let mut world = in_order(World::new(2, 1, hasty()), 0);
    world.crash_agent(1);
    world.orders.insert(vip(0), vec![1]);
    world.apply(Fault::SourcesCatchUp);
    after(&mut world, hasty().retire - ms(100));
    assert_eq!(world.holders(vip(0)), [0]);
    after(&mut world, ms(300));
    assert_eq!(world.holders(vip(0)), [0_usize; 0]);
}

/// The holder was unlabelled, removed its VIP and left the sources before the other agent could see any of it.
#[test]
fn nobody_stands_by_behind_a_director_that_is_forgotten() {
    let mut world = in_order(World::new(2, 1, hasty()), 0);
    let holder = world.holders(vip(0))[0];
    world.crash_agent(holder);
    world.hosts[holder].nic.clear();
    world.forgotten.insert(holder);
    world.orders.insert(vip(0), vec![1 - holder]);
    world.apply(Fault::SourcesCatchUp);
    after(&mut world, ms(1500));
    fine(&world);
    assert_eq!(world.holders(vip(0)), [1 - holder]);
}

#[test]
fn a_vip_that_nobody_wants_any_more_leaves_at_once_and_is_forgotten() {
    let mut world = in_order(World::new(2, 2, hasty()), 0);
    world.orders.remove(&vip(0));
    world.apply(Fault::SourcesCatchUp);
    after(&mut world, ms(5));
    assert!(world.hosts.iter().all(|host| !host.nic.contains(&vip(0))));
    let place = |host: usize| {
        world.hosts[host]
            .election
            .as_ref()
            .unwrap()
            .vip_state(vip(0))
    };
    assert_eq!((place(0), place(1)), (None, None));
}

#[test]
fn an_address_that_is_gone_without_an_agent_is_found_missing() {
    let mut world = in_order(World::new(2, 1, hasty()), 0);
    world.crash_agent(0);
    world.apply(Fault::AddressDeleted(0));
    after(&mut world, ms(2500));
    fine(&world);
    assert_eq!(world.holders(vip(0)), [1]);
    let took = world
        .judge
        .seen
        .notices
        .iter()
        .find_map(|(_, report)| match report {
            Notice::Took { cause, .. } => Some(*cause),
            _ => None,
        });
    assert_eq!(took, Some(TakeCause::HolderSilent));
    say(&format!(
        "an address deleted, agent dead: nobody holds the VIP for {:?}",
        world.judge.seen.worst_gap
    ));
}

#[test]
fn the_whole_site_without_power_and_back() {
    let mut world = in_order(World::new(3, 9, hasty()), 0);
    for host in 0..3 {
        world.apply(Fault::PowerLost(host, Some(ms(900 + 70 * host as u64))));
    }
    settle(&mut world, seconds(6));
    assert!(world.hosts.iter().all(|host| host.agent == Agent::Runs));
}

#[test]
fn sixty_vips_spread_over_what_is_left_and_return() {
    let mut world = in_order(all_on_first(3, 0, hasty()), 0);
    let names: Vec<directway::model::NodeName> = (0..3)
        .map(|host| format!("d{host}").as_str().into())
        .collect();
    let inputs: Vec<_> = (0..60)
        .map(|index| directway::election::PlacementInput {
            vip: vip(index),
            eligible: names.iter().collect(),
            incomplete: Vec::new(),
            preferred: None,
        })
        .collect();
    let placement = directway::election::place(&inputs, &std::collections::BTreeSet::new());
    let index =
        |name: &&directway::model::NodeName| names.iter().position(|known| known == *name).unwrap();
    world.orders = placement
        .orders
        .iter()
        .map(|(vip, order)| (*vip, order.iter().map(index).collect()))
        .collect();
    world.apply(Fault::SourcesCatchUp);
    settle(&mut world, seconds(3));
    let load = |world: &World, host: usize| {
        world
            .orders
            .keys()
            .filter(|vip| world.holders(**vip) == [host])
            .count()
    };
    let before: Vec<usize> = (0..3).map(|host| load(&world, host)).collect();
    crate::setup::arm(&mut world);
    world.apply(Fault::PowerLost(0, Some(ms(2000))));
    after(&mut world, ms(1000));
    let without: Vec<usize> = (0..3).map(|host| load(&world, host)).collect();
    settle(&mut world, seconds(6));
    let took = world
        .judge
        .seen
        .notices
        .iter()
        .filter(|(_, report)| matches!(report, Notice::Took { .. }))
        .count();
    say(&format!(
        "60 VIPs on {before:?}; one dies: {without:?}; it returns: {took} moves in all"
    ));
    assert_eq!(took, 2 * before[0], "its VIPs and no others, away and back");
    assert_eq!(without.iter().sum::<usize>(), 60);
}
