//! Wires on which silence is no proof, and frames that are forged.

use std::time::Duration;

use directway::{
    election::{Event, Meaning, Notice, Received},
    model::Mac,
};

use crate::{
    faults::Fault,
    host::{id, mac, vip},
    setup::{after, fine, hasty, in_order, settle},
    wire::{Form, ms},
    world::World,
};

/// The conflicts that `host` reported, each by the other host's MAC.
fn reported(world: &World, host: usize) -> Vec<Mac> {
    let notices = world.judge.seen.notices.iter();
    let of_host = notices.filter(|(by, _)| *by == host);
    let conflicts = of_host.filter_map(|(_, notice)| match notice {
        Notice::Conflict { mac, .. } => Some(*mac),
        _ => None,
    });
    conflicts.collect()
}

fn cut_broadcasts(world: &mut World) {
    let hosts = 0..world.hosts.len();
    let ways = hosts
        .clone()
        .flat_map(|from| hosts.clone().map(move |to| (from, to)));
    world.others.cut_broadcasts = ways.collect();
    world.judge.is_deaf = true;
}

#[test]
fn where_broadcasts_are_lost_an_agent_that_starts_claims_nothing() {
    // Agents that start at the same time know each other's MACs only from the sources.
    for (restarted, knows_macs) in [(&[1][..], false), (&[0], false), (&[0, 1], true)] {
        let mut world = World::new(2, 1, hasty());
        world.knows_macs = knows_macs;
        for host in 0..2 {
            world.configure(host);
        }
        let mut world = in_order(world, 0);
        cut_broadcasts(&mut world);
        for host in restarted {
            world.apply(Fault::AgentDies(*host, ms(700)));
        }
        settle(&mut world, ms(5000));
        assert_eq!(world.judge.seen.worst_double, Duration::ZERO);
        assert_eq!(world.judge.seen.worst_gap, Duration::ZERO);
    }
}

#[test]
fn where_broadcasts_are_lost_two_holders_find_each_other() {
    for phase in 0..10 {
        let mut world = in_order(World::new(3, 1, hasty()), 0);
        cut_broadcasts(&mut world);
        world.apply(Fault::Split(0, ms(2000 + 7 * phase)));
        after(&mut world, ms(1900));
        assert_eq!(world.holders(vip(0)), [0, 1]);
        settle(&mut world, ms(3000));
    }
}

#[test]
fn where_broadcasts_are_lost_a_dead_holders_vip_is_taken_over() {
    let mut world = in_order(World::new(3, 1, hasty()), 0);
    cut_broadcasts(&mut world);
    world.apply(Fault::PowerLost(0, None));
    settle(&mut world, ms(3000));
    assert!(world.judge.seen.worst_gap < ms(400));
}

/// The predecessor does not hear that its successor has the VIP, so it asks.
#[test]
fn where_broadcasts_are_lost_a_planned_move_takes_little_longer() {
    let mut world = in_order(World::new(3, 1, hasty()), 0);
    cut_broadcasts(&mut world);
    for to in [2, 1, 0] {
        world.apply(Fault::Preferred(to));
        settle(&mut world, ms(4000));
        assert_eq!(world.holders(vip(0)), [to]);
    }
    let seen = &world.judge.seen;
    assert_eq!(
        (seen.worst_gap, seen.worst_double),
        (Duration::ZERO, Duration::ZERO)
    );
    // Without the question it was 0.6 s.
    let overlap = seen.worst_planned;
    assert!(overlap > ms(20), "the announcement was heard: {overlap:?}");
}

/// A switch may drop one form of gratuitous ARP. A predecessor that took the other one for an answer to somebody would
/// first ask, and hold the VIP for longer.
#[test]
fn a_director_is_believed_by_either_form_of_its_announcements() {
    let overlap = |lost: Option<Form>| {
        let mut world = World::new(3, 1, hasty());
        world.others.lost_form = lost;
        let mut world = in_order(world, 0);
        for to in [2, 1, 0] {
            world.apply(Fault::Preferred(to));
            settle(&mut world, ms(4000));
            assert_eq!(world.holders(vip(0)), [to], "{lost:?}");
        }
        assert_eq!(world.judge.seen.worst_gap, Duration::ZERO, "{lost:?}");
        let overlap = world.judge.seen.worst_planned;
        world.apply(Fault::PowerLost(0, None));
        settle(&mut world, ms(3000));
        assert!(world.judge.seen.worst_gap < ms(400), "{lost:?}");
        overlap
    };
    let both = overlap(None);
    for lost in Form::ALL {
        assert_eq!(overlap(Some(lost)), both, "without {lost:?}");
    }
}

/// The report of a director that is not asked in turn yet.
#[test]
fn a_director_that_reports_the_vip_is_asked_at_every_look() {
    let questions = |reported: Option<usize>| {
        let mut world = World::new(3, 1, hasty());
        world.reported.extend(reported);
        let mut world = in_order(world, 0);
        for host in 0..3 {
            world.configure(host);
        }
        world.count = Some(Vec::new());
        after(&mut world, ms(4000));
        let counts = world.count.take().unwrap();
        counts.iter().map(|count| count.unicasts).sum::<usize>()
    };
    let (without, with) = (questions(None), questions(Some(2)));
    assert!(with > without, "{with} and {without}");
}

/// All frames from one director to the other are lost, so each takes the other for dead.
#[test]
fn where_one_way_is_lost_both_hold_the_vip_and_it_is_reported() {
    for way in [(0, 1), (1, 0)] {
        let mut world = in_order(World::new(2, 1, hasty()), 0);
        world.others.cut.insert(way);
        after(&mut world, ms(40_000));
        assert_eq!(world.holders(vip(0)), [0, 1], "{way:?}");
        let (sender, hearer) = (way.1, way.0);
        assert_eq!(
            reported(&world, hearer),
            [mac(sender)],
            "{way:?}: told once"
        );
        world.others.cut.clear();
        after(&mut world, ms(3000));
        assert_eq!(world.holders(vip(0)), [0], "{way:?}");
        world.verdict().unwrap();
        let over = |(_, notice): &(usize, Notice)| matches!(notice, Notice::ConflictOver { .. });
        assert!(world.judge.seen.notices.iter().any(over), "{way:?}");
    }
}

/// A frame that claims the first VIP for `from`.
fn claim(from: Mac, meaning: Meaning, has: bool) -> Received {
    Received {
        from,
        has: has.then(|| vip(0)),
        meaning,
        to_us: matches!(meaning, Meaning::Reply(_)),
    }
}

/// Sends a forged frame to every agent, once a millisecond.
fn flood(world: &mut World, time: Duration, mut forge: impl FnMut(u64) -> Received) {
    for number in 0..u64::try_from(time.as_millis()).unwrap() {
        after(world, ms(1));
        for host in 0..world.hosts.len() {
            if world.hosts[host].runs() {
                world.give(host, Event::Received(forge(number)));
            }
        }
    }
}

fn random(number: u64) -> Mac {
    let [.., a, b] = number.to_be_bytes();
    Mac([2, 9, 9, 9, a, b])
}

type Forger = fn(u64) -> Received;

/// Announcements, answers and probes from MACs of hosts that do not exist, and from those of directors.
const FORGERS: [(&str, Forger); 12] = [
    ("announcements, many MACs", |number| {
        Form::Request.announces(vip(0), random(number))
    }),
    ("announcements, one MAC", |_| {
        Form::Request.announces(vip(0), random(7))
    }),
    ("announcements of the dead director", |_| {
        Form::Request.announces(vip(0), mac(0))
    }),
    ("announcements of all directors", |number| {
        Form::Request.announces(vip(0), mac(number as usize % 3))
    }),
    ("gratuitous replies, many MACs", |number| {
        Form::Reply.announces(vip(0), random(number))
    }),
    ("gratuitous replies, one MAC", |_| {
        Form::Reply.announces(vip(0), random(7))
    }),
    ("gratuitous replies of the dead director", |_| {
        Form::Reply.announces(vip(0), mac(0))
    }),
    ("gratuitous replies of all directors", |number| {
        Form::Reply.announces(vip(0), mac(number as usize % 3))
    }),
    (
        "gratuitous replies of the dead director, to one host",
        |_| claim(mac(0), Meaning::Reply(Some(vip(0))), true),
    ),
    ("answers to probes, many MACs", |number| {
        claim(random(number), Meaning::Reply(None), true)
    }),
    ("answers to questions, many MACs", |number| {
        claim(random(number), Meaning::Reply(Some(id(1).0)), true)
    }),
    ("probes of the dead director", |_| {
        claim(mac(0), Meaning::Request(vip(0)), false)
    }),
];

#[test]
fn forged_frames_postpone_a_takeover_by_a_bounded_time() {
    for (name, forge) in FORGERS {
        let mut world = in_order(World::new(3, 1, hasty()), 0);
        flood(&mut world, ms(3000), forge);
        assert_eq!(world.holders(vip(0)), [0], "{name}");
        world.apply(Fault::PowerLost(0, None));
        flood(&mut world, ms(2000), forge);
        assert_eq!(world.holders(vip(0)), [1], "{name}");
        let gap = world.judge.seen.worst_gap;
        assert!(gap < ms(1500), "{name}: {gap:?}");
        fine(&world);
        settle(&mut world, ms(3000));
    }
}

/// The address of the dead director, announced to one host alone.
#[test]
fn an_announcement_is_no_answer_to_the_question_whether_a_director_is_up() {
    let mut world = in_order(World::new(2, 1, hasty()), 0);
    world.apply(Fault::PowerLost(0, None));
    let peer = id(0);
    flood(&mut world, ms(500), |_| Received {
        to_us: true,
        ..Form::Reply.announces(peer.0, mac(0))
    });
    let election = world.hosts[1].election.as_ref().unwrap();
    assert_eq!(election.answers(peer), Some(false));
    assert_eq!(world.holders(vip(0)), [1]);
}

#[test]
fn forged_frames_are_reported_by_rate_and_answered_with_few_questions() {
    const SECONDS: usize = 20;
    for (name, forge) in FORGERS {
        let mut world = in_order(World::new(3, 1, hasty()), 0);
        world.count = Some(Vec::new());
        flood(&mut world, ms(1000 * SECONDS as u64), forge);
        for host in 0..3 {
            let notices = world.judge.seen.notices.iter();
            let notices = notices.filter(|(by, _)| *by == host).count();
            assert!(notices <= 4, "{name}: d{host} gave {notices} notices");
        }
        let counts = world.count.take().unwrap();
        let frames = counts
            .iter()
            .map(|it| it.broadcast_frames() + it.unicasts)
            .sum::<usize>();
        assert!(frames <= 40 * 3 * SECONDS, "{name}: {frames} frames");
        settle(&mut world, ms(3000));
    }
}

#[test]
fn many_conflicts_are_reported_one_after_the_other() {
    const VIPS: usize = 300;
    let mut world = in_order(World::new(2, VIPS, hasty()), 0);
    for number in 0..10_000_u64 {
        after(&mut world, ms(1));
        let mut forged = claim(random(number), Meaning::Reply(None), true);
        forged.has = Some(vip(number as usize % VIPS));
        for host in 0..2 {
            world.give(host, Event::Received(forged));
        }
    }
    for host in 0..2 {
        let told = reported(&world, host).len();
        assert!((100..=176).contains(&told), "d{host}: {told}");
    }
}

/// The agent cannot read as fast as frames arrive.
#[test]
fn frames_that_are_lost_all_the_time_postpone_a_takeover_by_a_bounded_time() {
    for every in [5, 50, 250] {
        let mut world = in_order(World::new(3, 1, hasty()), 0);
        let lose = |world: &mut World, time| {
            for _ in 0..time / every {
                after(world, ms(every));
                for host in 0..3 {
                    if world.hosts[host].runs() {
                        world.give(host, Event::Missed);
                    }
                }
            }
        };
        world.count = Some(Vec::new());
        lose(&mut world, 10_000);
        let counts = world.count.take().unwrap();
        let probes: usize = counts.iter().map(|count| count.broadcasts).sum();
        assert!(probes <= 10 * 8, "{every}: {probes} probes in 10 s");
        world.apply(Fault::PowerLost(0, None));
        lose(&mut world, 2000);
        assert_eq!(world.holders(vip(0)), [1], "{every}");
        let gap = world.judge.seen.worst_gap;
        assert!(gap < ms(1500), "{every}: {gap:?}");
        settle(&mut world, ms(3000));
    }
}

#[test]
fn a_router_that_answers_for_the_vip_but_not_to_probes_is_reported_once() {
    const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 98]);
    let mut world = in_order(World::new(2, 1, hasty()), 0);
    world.others.proxies.insert(vip(0), ROUTER);
    after(&mut world, ms(90_000));
    assert_eq!(reported(&world, 0), [ROUTER]);
    world.others.proxies.clear();
    settle(&mut world, ms(15_000));
    let (_, last) = world.judge.seen.notices.last().unwrap();
    assert_eq!(*last, Notice::ConflictOver { vip: vip(0) });
}
