//! Run directories and ledgers that cannot be used.

use super::*;

#[test]
fn without_a_ledger_nothing_is_changed_and_the_report_says_so() {
    let mut world = World::new(true);
    world.settle();
    let (_, before) = world.pass("b1");
    for broken in ["", "{", r#"{"version":9}"#] {
        let file = world.agent("b1").run_dir.path().join("ledger.json");
        fs::write(&file, broken).unwrap();
        let run_dir = world.agent("b1").run_dir.path().to_owned();
        world.restart("b1", &run_dir);
        let there = world.look("b1");
        world.delete();
        let (end, report) = world.pass("b1");
        assert!(
            matches!(end.error, Some(PassError::RunDir(RunDirError::Ledger(_)))),
            "{end:?}"
        );
        assert!(end.next.failed, "{:?}", end.next);
        assert_eq!(world.look("b1"), there, "something was changed");
        assert_eq!(fs::read_to_string(&file).unwrap(), broken);
        let check = &report.unwrap().preflight[0].check;
        assert_eq!(*check, PreflightCheck::Needs(Reason::LedgerUnwritable));
        world.change(|| Change::of(SERVICE));
        let (_, report) = world.pass("b1");
        assert_eq!(
            report.unwrap().peer,
            before.clone().unwrap().peer,
            "others would act on it"
        );
    }
}

#[test]
fn a_run_dir_that_cannot_be_written_stops_changes_only() {
    let mut world = World::new(false);
    let file = world.agent("d").run_dir.path().join("file");
    fs::write(&file, "").unwrap();
    world.restart("d", &file.join("run"));
    let (end, report) = world.pass("d");
    assert!(
        matches!(end.error, Some(PassError::RunDir(RunDirError::Ledger(_)))),
        "{end:?}"
    );
    assert_eq!(world.lan.ops("d"), 0);
    let check = &report.unwrap().preflight[0].check;
    assert_eq!(*check, PreflightCheck::Needs(Reason::LedgerUnwritable));
}
