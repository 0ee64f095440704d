//! What a pass reports of elections.

use std::{io, sync::Arc};

use tempfile::TempDir;

use super::World;
use crate::{
    agent::{ElectionStatus, Elections, Passes, Trigger},
    election::Timing,
    model::Reason,
};

/// The report names the services, and after that why the VIP is held by nobody.
#[test]
fn an_election_that_cannot_begin_is_reported() {
    let mut world = World::new(true);
    let status = ElectionStatus::new(Trigger::default(), Arc::default());
    let no_thread = |_| Err(io::Error::other("no more threads"));
    let elections = Elections::new(Timing::default(), None, Arc::new(status), no_thread);
    let run_dir = TempDir::new().unwrap();
    world.agent("d").passes = Passes::new("d".into(), run_dir.path(), elections);
    let (end, report) = world.pass("d");
    assert!(end.next.failed && end.error.is_some(), "{end:?}");
    assert_eq!(report.unwrap().services, 1);
    let (_, report) = world.pass("d");
    let refused = report.unwrap().refused;
    let (_, refusal) = refused.first_key_value().unwrap();
    assert_eq!(refusal.reason, Reason::KernelRefused);
    assert!(refusal.message.contains("no more threads"), "{refusal}");
}
