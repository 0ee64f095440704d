//! Random faults at random times while frames are lost, late and doubled, and timers late. Failures shrink.

use std::time::Duration;

use proptest::{collection::vec, prelude::*, test_runner::RngSeed};

use crate::{
    faults::Fault,
    setup::hasty,
    wire::{Chance, ms},
    world::World,
};

#[derive(Clone, Debug)]
struct Story {
    hosts: usize,
    vips: usize,
    chance: Chance,
    /// Each fault, with the time since the one before.
    faults: Vec<(Duration, Fault)>,
}

fn fault(hosts: usize) -> impl Strategy<Value = Fault> {
    let time = prop_oneof![20..400u64, 400..3000u64].prop_map(ms);
    (0..hosts, time, 0..11usize).prop_map(|(host, time, kind)| match kind {
        0 => Fault::PowerLost(host, Some(time)),
        1 => Fault::Frozen(host, time),
        2 | 3 => Fault::AgentPaused(host, time),
        4 => Fault::AgentDies(host, time),
        5 => Fault::Split(host, time),
        6 => Fault::Unplugged(host, time),
        7 => Fault::Unready(host, time),
        8 => Fault::AddressDeleted(host),
        9 => Fault::Preferred(host),
        _ => Fault::PreferredLate(host, time),
    })
}

fn story(problem: impl Strategy<Value = Chance>) -> impl Strategy<Value = Story> {
    (2..=3usize, 1..=4usize, problem).prop_flat_map(|(hosts, vips, chance)| {
        let gap = prop_oneof![0..60u64, 60..1500u64].prop_map(ms);
        vec((gap, fault(hosts)), 0..9).prop_map(move |faults| Story {
            hosts,
            vips,
            chance: chance.clone(),
            faults,
        })
    })
}

fn bad_wire() -> impl Strategy<Value = Chance> {
    (
        any::<u64>(),
        0..80u64,
        0..80u64,
        0..80u64,
        1..90u64,
        0..40u64,
    )
        .prop_map(|(seed, lost, late, twice, by, jitter)| Chance {
            lost,
            late,
            twice,
            by,
            jitter,
            ..Chance::new(seed)
        })
}

fn good_wire() -> impl Strategy<Value = Chance> {
    (any::<u64>(), 0..25u64).prop_map(|(seed, jitter)| Chance {
        jitter,
        ..Chance::new(seed)
    })
}

/// Runs the story, then ends all faults and loses no more frames; every VIP must get to its best director.
fn tell(story: &Story, log: bool) -> Result<World, String> {
    let mut world = World::new(story.hosts, story.vips, hasty());
    let mut written = None;
    if log {
        let (logged, text) = world.logged();
        (world, written) = (logged, Some(text));
    }
    let outcome = go(&mut world, story);
    match outcome {
        Ok(()) => Ok(world),
        Err(wrong) => {
            let text = written
                .map(|text| text.borrow().join("\n"))
                .unwrap_or_default();
            Err(format!("{wrong}\n{text}"))
        }
    }
}

fn go(world: &mut World, story: &Story) -> Result<(), String> {
    world.chance = Some(story.chance.clone());
    for host in 0..story.hosts {
        world.start_agent(host);
    }
    let mut at = world.now + ms(500);
    for (gap, fault) in &story.faults {
        at += *gap;
        world.run(at);
        world.apply(*fault);
    }
    while world.has_faults_ahead() {
        let next = world.now + ms(200);
        world.run(next);
    }
    world.chance = None;
    let deadline = world.now + ms(8000);
    let mut quiet = 0;
    while quiet < 4 {
        let next = world.now + ms(250);
        world.run(next);
        match world.verdict() {
            Ok(()) => quiet += 1,
            Err(wrong) if world.now >= deadline => return Err(wrong),
            Err(_) => quiet = 0,
        }
    }
    match &world.judge.violation {
        Some(violation) => Err(violation.clone()),
        None => Ok(()),
    }
}

/// The same 600 stories each time; with PROPTEST_CASES, that many random ones.
fn config() -> ProptestConfig {
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_some() {
        return config;
    }
    ProptestConfig {
        cases: 600,
        rng_seed: RngSeed::Fixed(600),
        ..config
    }
}

fn holds(story: &Story) -> Result<(), TestCaseError> {
    if tell(story, false).is_err() {
        let wrong = tell(story, true).err().unwrap_or_default();
        return Err(TestCaseError::fail(wrong));
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn one_holder_whatever_happens(story in story(good_wire())) {
        holds(&story)?;
    }

    #[test]
    fn two_holders_find_each_other_on_a_wire_that_loses_delays_and_doubles_frames(story in story(bad_wire())) {
        holds(&story)?;
    }
}
