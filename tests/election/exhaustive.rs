//! All interleavings: of faults, one after the other and at once, and of frames that are lost, late or doubled at the moments
//! that matter.

use std::time::Duration;

use directway::election::Timing;

use crate::{
    explore::{Plan, explore},
    faults::Fault,
    setup::{after, hasty, in_order},
    wire::{Fate, ms},
    world::World,
};

/// What may happen to a host.
fn faults(host: usize) -> Vec<Fault> {
    vec![
        Fault::PowerLost(host, None),
        Fault::PowerLost(host, Some(ms(180))),
        Fault::Frozen(host, ms(220)),
        Fault::Frozen(host, ms(900)),
        Fault::AgentPaused(host, ms(60)),
        Fault::AgentPaused(host, ms(900)),
        Fault::AgentDies(host, ms(130)),
        Fault::AgentDies(host, ms(900)),
        Fault::Split(host, ms(150)),
        Fault::Split(host, ms(700)),
        Fault::Unplugged(host, ms(40)),
        Fault::Unplugged(host, ms(700)),
        Fault::Unready(host, ms(500)),
        Fault::AddressDeleted(host),
        Fault::Preferred(host),
        Fault::PreferredLate(host, ms(300)),
    ]
}

const FATES: [Fate; 3] = [Fate::Lost, Fate::Late(ms(33)), Fate::Twice(ms(20))];
const SETTLE: Duration = ms(4000);

fn offsets(world: &World, offsets: impl IntoIterator<Item = u64>) -> Vec<Duration> {
    offsets
        .into_iter()
        .map(|offset| world.now + ms(offset))
        .collect()
}

fn ready(hosts: usize) -> World {
    in_order(World::new(hosts, 1, hasty()), 0)
}

#[test]
fn one_fault_at_any_time() {
    for hosts in [2, 3] {
        let world = ready(hosts);
        let plan = Plan {
            times: offsets(&world, (0..1000).step_by(7)),
            faults: (0..hosts).flat_map(faults).collect(),
            max_faults: 1,
            settle: SETTLE,
            ..Plan::default()
        };
        explore(&format!("{hosts} directors, one fault"), &world, &plan);
    }
}

#[test]
fn two_directors_two_faults() {
    let world = ready(2);
    let plan = Plan {
        times: offsets(&world, [0, 3, 60, 150, 205, 250, 300, 420, 1000]),
        faults: (0..2).flat_map(faults).collect(),
        max_faults: 2,
        settle: SETTLE,
        ..Plan::default()
    };
    explore("2 directors, two faults", &world, &plan);
}

#[test]
fn three_directors_two_faults() {
    let world = ready(3);
    let plan = Plan {
        times: offsets(&world, [0, 170, 255, 400]),
        faults: (0..3).flat_map(faults).collect(),
        max_faults: 2,
        settle: SETTLE,
        ..Plan::default()
    };
    explore("3 directors, two faults", &world, &plan);
}

/// Three faults, of the kinds that an agent cannot see coming.
#[test]
fn two_directors_three_faults() {
    let world = ready(2);
    let kinds = |host| {
        [
            Fault::PowerLost(host, Some(ms(180))),
            Fault::Frozen(host, ms(220)),
            Fault::AgentPaused(host, ms(400)),
            Fault::Split(host, ms(300)),
            Fault::Preferred(host),
        ]
    };
    let plan = Plan {
        times: offsets(&world, [0, 3, 205, 260, 500]),
        faults: (0..2).flat_map(kinds).collect(),
        max_faults: 3,
        settle: SETTLE,
        ..Plan::default()
    };
    explore("2 directors, three faults", &world, &plan);
}

/// Any fate for frames about the VIP in the 500 ms after `before`; with `liveness_too`, for all frames in 330 ms.
fn unheard(
    name: &str,
    mut world: World,
    before: impl FnOnce(&mut World),
    max_fates: usize,
    liveness_too: bool,
) {
    before(&mut world);
    let plan = Plan {
        times: offsets(&world, [if liveness_too { 330 } else { 500 }]),
        fates: FATES.to_vec(),
        liveness_too,
        max_fates,
        settle: SETTLE,
        ..Plan::default()
    };
    explore(name, &world, &plan);
}

#[test]
fn boots_while_frames_are_lost_late_or_doubled() {
    for (hosts, max_fates) in [(2, 3), (3, 2)] {
        for apart in [0, 1, 17, 31, 64, 95, 121] {
            let mut world = World::new(hosts, 1, hasty());
            for host in 0..hosts {
                // The most preferred director starts last.
                world.start_agent(hosts - 1 - host);
                after(&mut world, ms(apart));
            }
            let name = format!("{hosts} directors boot {apart} ms apart");
            unheard(&name, world, |_| {}, max_fates, false);
        }
    }
}

#[test]
fn a_takeover_while_frames_are_lost_late_or_doubled() {
    let dies = |world: &mut World| world.apply(Fault::PowerLost(0, None));
    let freezes = |world: &mut World| world.apply(Fault::Frozen(0, ms(250)));
    unheard("holder of 2 dies", ready(2), dies, 2, true);
    unheard("holder of 3 dies", ready(3), dies, 2, false);
    unheard("holder of 2 freezes", ready(2), freezes, 2, true);
    unheard("holder of 3 freezes", ready(3), freezes, 2, false);
}

#[test]
fn a_planned_move_while_frames_are_lost_late_or_doubled() {
    unheard(
        "2 directors, planned move",
        ready(2),
        |world| world.apply(Fault::Preferred(1)),
        3,
        false,
    );
    unheard(
        "3 directors, planned move",
        ready(3),
        |world| world.apply(Fault::Preferred(2)),
        2,
        false,
    );
}

#[test]
fn a_healing_while_frames_are_lost_late_or_doubled() {
    for hosts in [2, 3] {
        let heal = |world: &mut World| {
            world.apply(Fault::Split(0, ms(600)));
            after(world, ms(601));
        };
        unheard(
            &format!("{hosts} directors, healing"),
            ready(hosts),
            heal,
            2,
            hosts == 2,
        );
    }
}

/// The same with timers ten times as long: nothing depends on their length.
#[test]
fn one_fault_with_slow_timers() {
    let timing = Timing {
        ask: ms(500),
        ask_down: ms(2000),
        probe: ms(300),
        turn: ms(1200),
        contest: ms(3000),
        pause: ms(1800),
        check: ms(10_000),
        stranger: ms(50_000),
        ..hasty()
    };
    let mut world = World::new(2, 1, timing);
    world.judge.scale(10);
    let slow = |fault| match fault {
        Fault::PowerLost(host, back) => Fault::PowerLost(host, back.map(|time| time * 10)),
        Fault::Frozen(host, time) => Fault::Frozen(host, time * 10),
        Fault::Split(host, time) => Fault::Split(host, time * 10),
        Fault::Unplugged(host, time) => Fault::Unplugged(host, time * 10),
        other => other,
    };
    let world = {
        world.start_agent(0);
        world.start_agent(1);
        world.run(ms(20_000));
        world.verdict().unwrap();
        crate::setup::arm(&mut world);
        world
    };
    let plan = Plan {
        times: offsets(&world, (0..10_000).step_by(770)),
        faults: (0..2).flat_map(faults).map(slow).collect(),
        max_faults: 1,
        settle: ms(40_000),
        ..Plan::default()
    };
    explore("2 directors, one fault, slow timers", &world, &plan);
}
