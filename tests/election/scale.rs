//! Many VIPs: how long the last one waits, and how many frames it takes.

use std::time::Duration;

use directway::election::Timing;

use crate::{
    faults::Fault,
    notes::Count,
    say::say,
    setup::{after, all_on_first, fine, hasty, in_order, until_in_order},
    wire::ms,
    world::World,
};

const MANY: usize = 1000;

fn many() -> World {
    let mut world = in_order(all_on_first(2, MANY, hasty()), 0);
    world.count = Some(Vec::new());
    world
}

#[test]
fn a_thousand_vips_in_one_takeover() {
    let mut world = many();
    world.apply(Fault::PowerLost(0, None));
    until_in_order(&mut world, ms(2000));
    let worst = world.judge.seen.worst_gap;
    let counts = world.count.take().unwrap();
    let rate = hasty().urgent;
    // Each VIP that starts in a window sends its further probes and its claim in later ones.
    let most_claims = counts.iter().map(|count| count.claims).max().unwrap();
    let most = |window: u128, of: fn(&Count) -> usize| {
        let mut sums = std::collections::BTreeMap::<u128, usize>::new();
        for count in &counts {
            *sums.entry(count.at.as_millis() / window).or_default() += of(count);
        }
        sums.into_values().max().unwrap()
    };
    let busiest = |window| most(window, Count::broadcast_frames);
    // Repeated announcements of earlier VIPs wait for the first ones of later VIPs.
    let announced = most(rate.every.as_millis(), |count| count.announcements);
    assert!(
        announced <= 2 * rate.count as usize,
        "{announced} announcements in {:?}",
        rate.every
    );
    say(&format!(
        "{MANY} VIPs, holder dies: the last is claimed after {worst:?}; at most {most_claims} claims at once, {} broadcasts in 100 ms, {} in a second",
        busiest(100),
        busiest(1000)
    ));
    assert!(worst < ms(2000), "{worst:?}");
    assert!(most_claims <= rate.count as usize);
}

#[test]
fn two_halves_with_a_thousand_vips_settle_within_a_second() {
    let mut world = many();
    world.apply(Fault::Split(0, ms(3000)));
    after(&mut world, ms(3000));
    assert_eq!(world.holders(crate::host::vip(0)), [0, 1]);
    let settled = until_in_order(&mut world, ms(1000));
    say(&format!(
        "{MANY} VIPs in two halves: one holder each {settled:?} after healing"
    ));
}

#[test]
fn a_machine_that_stood_still_gives_up_a_thousand_vips() {
    let mut world = many();
    world.apply(Fault::Frozen(0, ms(3000)));
    after(&mut world, ms(2999));
    // The judge's limits are for one VIP; a thousand are probed in batches, which takes longer.
    world.judge.scale(3);
    let both = |world: &World| world.orders.keys().any(|vip| world.holders(*vip).len() > 1);
    after(&mut world, ms(2));
    let mut time = Duration::ZERO;
    while both(&world) {
        after(&mut world, ms(1));
        time += ms(1);
        assert!(time < ms(600));
    }
    fine(&world);
    say(&format!(
        "{MANY} VIPs, the holder's machine stood still: two MACs answer for {time:?} after it is back"
    ));
}

/// Frames per second at rest.
fn at_rest(vips: usize) -> (usize, usize, usize) {
    let mut world = in_order(all_on_first(3, vips, hasty()), 0);
    world.count = Some(Vec::new());
    after(&mut world, ms(10_000));
    fine(&world);
    let counts = world.count.take().unwrap();
    let sum = |of: fn(&Count) -> usize| counts.iter().map(of).sum::<usize>() / 10;
    (
        sum(|count| count.liveness),
        sum(|count| count.broadcasts),
        sum(|count| count.unicasts),
    )
}

#[test]
fn liveness_costs_the_same_however_many_vips_there_are_and_the_rest_is_bounded() {
    let few = at_rest(1);
    let many = at_rest(MANY);
    let Timing {
        ask, background, ..
    } = hasty();
    say(&format!(
        "3 directors at rest, frames per second (liveness, broadcasts, unicasts about VIPs): {few:?} with 1 VIP, {many:?} with {MANY}"
    ));
    let pairs = 3 * 2;
    let asked = pairs * (1000 / ask.as_millis() as usize);
    assert!(few.0 <= asked && few.0 >= asked - pairs, "{few:?}");
    assert_eq!(few.0, many.0);
    let bound = (background.count as u128 * 1000 / background.every.as_millis()) as usize;
    assert!(many.1 + many.2 <= 4 * bound, "{many:?}");
}

#[test]
fn every_vip_has_its_turn_in_the_background() {
    let mut world = in_order(all_on_first(2, MANY, hasty()), 0);
    world.judge.seen.probed.clear();
    let rate = hasty().background;
    let round = rate.every * (MANY as u32 / rate.count) * 2;
    after(&mut world, round);
    assert_eq!(
        world.judge.seen.probed.len(),
        MANY,
        "all were looked at within {round:?}"
    );
}

/// The most ARP frames that a switch's port receives from a director in one second.
#[derive(Clone, Copy, Debug)]
struct BusiestPort {
    /// While all VIPs are new.
    start: usize,
    rest: usize,
    /// While a director dies and another takes over its VIPs.
    takeover: usize,
}

impl BusiestPort {
    fn of(hosts: usize, vips: usize, timing: Timing) -> Self {
        let busiest = |world: &mut World| {
            let mut sums = std::collections::BTreeMap::<_, usize>::new();
            let frames = world.ports.replace(Vec::new()).unwrap();
            for (host, at) in &frames {
                let second = |(by, time): &&(usize, Duration)| by == host && *time >= *at;
                let within = frames.iter().filter(second);
                let count = within.filter(|(_, time)| *time < *at + ms(1000)).count();
                let most = sums.entry(host).or_default();
                *most = count.max(*most);
            }
            sums.values().copied().max().unwrap()
        };
        let mut world = all_on_first(hosts, vips, timing);
        world.ports = Some(Vec::new());
        for host in 0..hosts {
            world.start_agent(host);
        }
        after(&mut world, ms(90_000));
        let start = busiest(&mut world);
        after(&mut world, ms(40_000));
        let rest = busiest(&mut world);
        let holder = world.holders(crate::host::vip(0))[0];
        world.apply(Fault::PowerLost(holder, None));
        after(&mut world, ms(20_000 + 3000 * vips as u64));
        for vip in world.orders.keys() {
            assert_eq!(world.holders(*vip).len(), 1, "{vip}");
        }
        Self {
            start,
            rest,
            takeover: busiest(&mut world),
        }
    }
}

/// Some switches shut a port that sends more than 15 ARP frames in a second. docs/install.md has these timers, the formula
/// for the default ones, and how many directors are too many.
#[test]
fn timers_for_ports_that_police_arp() {
    let timers = [
        ("ask", 1000),
        ("askDown", 1000),
        ("probe", 1000),
        ("turn", 4000),
        ("contest", 4000),
        ("check", 5000),
        ("stranger", 10_000),
        ("urgentCount", 1),
        ("urgentEvery", 3000),
        ("backgroundCount", 1),
        ("backgroundEvery", 1000),
    ];
    let timers = timers.map(|(name, value)| directway::election::Timer::new(name, value).unwrap());
    let slow = Timing::with(&timers).unwrap();
    for hosts in [2, 3] {
        for vips in [1, 20] {
            let normal = BusiestPort::of(hosts, vips, Timing::default());
            let slowed = BusiestPort::of(hosts, vips, slow.clone());
            say(&format!(
                "{hosts} directors, {vips} VIPs, the most ARP frames that a port receives in a second: {normal:?}; with slow timers {slowed:?}, takeover within {:?}",
                slow.takeover()
            ));
            // The formula of docs/install.md, where one director holds all; what comes less often than once in a second
            // is the rest.
            let peers = hosts - 1;
            let formula = peers * 40 + vips * (2 + peers);
            let rest = normal.rest;
            assert!(rest <= formula + 2 * vips + 2, "{rest} of {formula}");
            // In each interval, a query to a neighbour takes up to three frames more.
            let most = 3 + slowed.start.max(slowed.rest).max(slowed.takeover);
            assert!(most <= 15, "{hosts} directors, {vips} VIPs: {most}");
        }
    }
}
