//! Agents killed, ops refused and power lost at every single op: the end is the same, and nothing is unsafe on the way.

use directway::model::VirtualService;

use crate::{
    cluster::{Cluster, Misfortune, Talk},
    site::{dns, nodes, web},
};

/// One step of a story: what people change.
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

const DELETE: Change = |cluster| {
    cluster.safety.serving(false);
    cluster.delete(&web());
    cluster.delete(&dns());
};

const STORY: [Change; 4] = [CREATE, CHANGE, RETURN, DELETE];

const UNDO: Change = |cluster| cluster.snapshot.undo = Some("now".to_owned());

const UNINSTALL: [Change; 2] = [CREATE, UNDO];

/// Runs a story; the state of every node after each step.
fn run(
    story: &[Change],
    talk: Talk,
    misfortune: Option<Misfortune>,
) -> (Cluster, Vec<String>, Vec<u64>) {
    let mut cluster = Cluster::new(talk);
    if let Some(misfortune) = misfortune {
        if matches!(misfortune, Misfortune::PowerLost(_)) {
            cluster.safety.expect_power_loss();
        }
        cluster.expect(misfortune);
    }
    let mut states = Vec::new();
    let mut ops = Vec::new();
    for change in story {
        change(&mut cluster);
        cluster.settle();
        states.push(format!("{:#?}", cluster.state()));
        ops.push(cluster.ops);
    }
    (cluster, states, ops)
}

fn every_op(talk: Talk, misfortune: fn(u64) -> Misfortune) {
    every_op_of(&STORY, talk, misfortune);
}

/// What a story does, and that it ends where it began, whatever happens at whichever op.
fn every_op_of(story: &[Change], talk: Talk, misfortune: fn(u64) -> Misfortune) {
    let before = format!("{:#?}", Cluster::new(talk).state());
    let (well, expected, ops) = run(story, talk, None);
    well.safety.check(&well.story);
    assert_eq!(expected.last(), Some(&before), "{}", well.story);
    let total = *ops.last().unwrap();
    assert!(total > 40, "only {total} ops: is anything done at all?");
    for op in 1..=total {
        let (cluster, states, _) = run(story, talk, Some(misfortune(op)));
        cluster.safety.check(&cluster.story);
        for (step, (state, expected)) in states.iter().zip(&expected).enumerate() {
            assert!(
                state == expected,
                "{:?}, step {step}:\n{}\n{}",
                misfortune(op),
                difference(state, expected),
                cluster.story
            );
        }
    }
}

/// The first lines that differ.
fn difference(state: &str, expected: &str) -> String {
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
fn killed_after_every_op_with_reports() {
    every_op(Talk::Reports, Misfortune::KilledAfter);
}

#[test]
fn killed_before_every_op_with_reports() {
    every_op(Talk::Reports, Misfortune::KilledBefore);
}

#[test]
fn killed_after_every_op_without_reports() {
    every_op(Talk::Wire, Misfortune::KilledAfter);
}

#[test]
fn killed_before_every_op_without_reports() {
    every_op(Talk::Wire, Misfortune::KilledBefore);
}

#[test]
fn every_op_refused_once() {
    every_op(Talk::Reports, Misfortune::Refused);
    every_op(Talk::Wire, Misfortune::Refused);
}

#[test]
fn power_lost_after_every_op() {
    every_op(Talk::Reports, Misfortune::PowerLost);
    every_op(Talk::Wire, Misfortune::PowerLost);
}

#[test]
fn whatever_happens_while_everything_is_undone_nothing_is_left() {
    for misfortune in [
        Misfortune::KilledAfter,
        Misfortune::KilledBefore,
        Misfortune::Refused,
        Misfortune::PowerLost,
    ] {
        every_op_of(&UNINSTALL, Talk::Reports, misfortune);
    }
}
