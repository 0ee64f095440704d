//! Agents are killed, effects refused and power lost at every single effect of passes and elections: the final state is
//! the same, and no safety rule is broken on the way.

use directway::{kernel::fake::Misfortune, model::VirtualService};

use crate::{
    cluster::{Cluster, Fault, State, Talk},
    site::{DIRECTORS, VIP, dns, nodes, web},
};

/// One step of a story: a change of the configuration.
type Change = fn(&mut Cluster);

const CREATE: Change = |cluster| {
    cluster.apply(web());
    cluster.apply(dns());
};

const CHANGE: Change = |cluster| {
    cluster.safety.serving(true);
    cluster.node("r1").labels.clear();
    cluster.node("r2").weight = Some("5".to_owned());
    cluster.apply(VirtualService {
        scheduler: directway::model::Scheduler::Wrr,
        generation: 2,
        ..web()
    });
};

const RETURN: Change = |cluster| {
    cluster.node("r1").labels = nodes()[&"r1".into()].labels.clone();
};

/// A VIP moves because another director is preferred, ...
const MOVE: Change = |cluster| {
    let holder = cluster.holders(VIP)[0];
    let other = DIRECTORS.into_iter().find(|name| *name != holder);
    let mut moved = web();
    moved.directors.preferred = other.map(Into::into);
    cluster.apply(moved);
};

/// ... because its holder is cordoned, ...
const CORDON: Change = |cluster| {
    let holder = cluster.holders(VIP)[0];
    cluster.node(holder).cordoned = true;
};

/// ... and because its holder loses its label.
const UNLABEL: Change = |cluster| {
    let holder = cluster.holders(VIP)[0];
    cluster.node(holder).labels.clear();
};

const DELETE: Change = |cluster| {
    cluster.safety.serving(false);
    cluster.delete(&web());
    cluster.delete(&dns());
};

const STORY: [Change; 4] = [CREATE, CHANGE, RETURN, DELETE];

const MOVES: [Change; 5] = [CREATE, MOVE, CORDON, UNLABEL, DELETE];

const UNDO: Change = |cluster| cluster.snapshot.undo = Some("now".to_owned());

const UNINSTALL: [Change; 2] = [CREATE, UNDO];

/// Runs a story; returns the state of every node after each step.
fn run(story: &[Change], talk: Talk, fault: Option<Fault>) -> (Cluster, Vec<State>) {
    let mut cluster = Cluster::new(talk);
    if let Some(fault) = fault {
        if matches!(fault, Fault::PowerLost(_)) {
            cluster.safety.expect_power_loss();
        }
        cluster.expect(fault);
    }
    let mut states = Vec::new();
    for change in story {
        change(&mut cluster);
        cluster.settle();
        states.push(cluster.state());
    }
    (cluster, states)
}

/// Runs a story without faults, then with each fault at each effect: the states after each step must be the same, and
/// the last one must be that before the story.
fn every_effect_of(story: &[Change], talk: Talk, faults: &[fn(u64) -> Fault]) {
    let before = Cluster::new(talk).state();
    let (well, expected) = run(story, talk, None);
    well.safety.check(&well.story);
    assert_eq!(expected.last(), Some(&before), "{}", well.story);
    let total = well.lan.effects();
    assert!(total > 40, "only {total} effects: is anything done at all?");
    for fault in faults {
        for effect in 1..=total {
            let (cluster, states) = run(story, talk, Some(fault(effect)));
            cluster.safety.check(&cluster.story);
            for (step, (state, expected)) in states.iter().zip(&expected).enumerate() {
                assert!(
                    state == expected,
                    "{:?}, step {step}:\n{}\n{}",
                    fault(effect),
                    difference(state, expected),
                    cluster.story
                );
            }
        }
    }
    println!(
        "{talk:?}: {total} effects, of which {}; {} runs",
        well.safety.counts(),
        total * faults.len() as u64
    );
}

const KILLED_AFTER: fn(u64) -> Fault = |at| Fault::Agent(Misfortune::KilledAfter(at));
const KILLED_BEFORE: fn(u64) -> Fault = |at| Fault::Agent(Misfortune::KilledBefore(at));
const REFUSED: fn(u64) -> Fault = |at| Fault::Agent(Misfortune::Refused(at));

/// The first lines that differ.
fn difference(state: &State, expected: &State) -> String {
    let [state, expected] = [state, expected].map(|state| format!("{state:#?}"));
    let mut lines = Vec::new();
    for (number, (is, should)) in state.lines().zip(expected.lines()).enumerate() {
        if is != should {
            lines.push(format!("line {number}: {is} instead of {should}"));
        }
    }
    lines.truncate(10);
    lines.join("\n")
}

#[test]
fn killed_at_every_effect_with_reports() {
    every_effect_of(&STORY, Talk::Reports, &[KILLED_AFTER, KILLED_BEFORE]);
}

#[test]
fn killed_at_every_effect_without_reports() {
    every_effect_of(&STORY, Talk::Wire, &[KILLED_AFTER, KILLED_BEFORE]);
}

#[test]
fn every_effect_refused_once() {
    every_effect_of(&STORY, Talk::Reports, &[REFUSED]);
    every_effect_of(&STORY, Talk::Wire, &[REFUSED]);
}

#[test]
fn power_lost_after_every_effect() {
    every_effect_of(&STORY, Talk::Reports, &[Fault::PowerLost]);
    every_effect_of(&STORY, Talk::Wire, &[Fault::PowerLost]);
}

/// In two tests, which can run at once: together they would take twice as long as any other.
const FAULTS_OF_MOVES: [fn(u64) -> Fault; 3] = [KILLED_AFTER, KILLED_BEFORE, REFUSED];

#[test]
fn whatever_happens_at_every_effect_of_claims_moves_and_yields_with_reports() {
    every_effect_of(&MOVES, Talk::Reports, &FAULTS_OF_MOVES);
}

#[test]
fn whatever_happens_at_every_effect_of_claims_moves_and_yields_without_reports() {
    every_effect_of(&MOVES, Talk::Wire, &FAULTS_OF_MOVES);
}

#[test]
fn whatever_happens_while_everything_is_undone_nothing_is_left() {
    let faults = [KILLED_AFTER, KILLED_BEFORE, REFUSED, Fault::PowerLost];
    every_effect_of(&UNINSTALL, Talk::Reports, &faults);
}
