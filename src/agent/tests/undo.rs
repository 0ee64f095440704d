//! A request to undo everything.

use super::*;
use crate::api::Undoing;

#[test]
fn a_request_is_followed_and_answered_until_it_is_taken_back() {
    let mut world = World::new(true);
    let before: Vec<Observed> = NODES.iter().map(|(name, ..)| world.look(name)).collect();
    world.settle();
    assert_eq!(world.pass("d").1.unwrap().undo, None);

    world.change(|| vec![Change::Undo(Some("now".to_owned()))]);
    let answer = |done| {
        let request = "now".to_owned();
        Some(Undoing { request, done })
    };
    // A real server waits for the director.
    let (_, report) = world.pass("b1");
    assert_eq!(report.unwrap().undo, answer(false));
    world.settle();
    for ((name, ..), before) in NODES.iter().zip(before) {
        assert_eq!(world.look(name), before, "{name} is not as it was");
        let (end, report) = world.pass(name);
        assert!(end.ops.is_empty(), "{:?}", end.ops);
        assert_eq!(report.unwrap().undo, answer(true));
    }

    world.change(|| vec![Change::Undo(None)]);
    world.settle();
    assert_eq!(world.lan.claimants(VIP), ["d".to_owned()].into());
    assert_eq!(world.pass("b1").1.unwrap().undo, None);
}

#[test]
fn a_ledger_that_cannot_be_read_is_no_answer() {
    let mut world = World::new(true);
    world.settle();
    let file = world.agent("b1").run_dir.path().join("ledger.json");
    fs::write(&file, "{").unwrap();
    let run_dir = world.agent("b1").run_dir.path().to_owned();
    world.restart("b1", &run_dir);
    world.change(|| vec![Change::Undo(Some("now".to_owned()))]);
    let (end, report) = world.pass("b1");
    assert!(end.error.is_some());
    assert!(!report.unwrap().undo.unwrap().done);
}
