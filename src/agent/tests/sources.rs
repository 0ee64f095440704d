//! Sources that lack something.

use super::*;

#[test]
fn an_incomplete_view_takes_nothing_away() {
    let mut world = World::new(false);
    world.settle();
    let before = world.look("d");
    let held = AddressKey::new(eth0(), VIP);
    assert!(before.net.addresses.contains_key(&held));
    world.delete();
    world
        .agent("d")
        .store
        .apply(vec![Change::Unread(["web.yaml".to_owned()].into())]);
    let (end, report) = world.pass("d");
    assert!(end.ops.is_empty(), "{:?}", end.ops);
    assert_eq!(world.look("d"), before);
    let entry = &report.unwrap().preflight[0];
    assert_eq!(entry.check, PreflightCheck::UnreadManifest);
    assert!(
        entry.message.contains("web.yaml") && entry.message.ends_with("10.0.0.100 stays"),
        "{entry:?}"
    );
    world
        .agent("d")
        .store
        .apply(vec![Change::Unread([].into())]);
    // The VIP leaves the NIC before its services are removed.
    let (end, _) = world.pass("d");
    assert!(end.ops.is_empty(), "{:?}", end.ops);
    assert!(!world.look("d").net.addresses.contains_key(&held));
    let (end, _) = world.pass("d");
    assert!(!end.ops.is_empty());
}

#[test]
fn an_agent_of_an_unknown_node_says_so_and_names_the_one_that_was_meant() {
    let mut world = World::new(false);
    let nodes = Change::of(&node_manifests().replace("name: d,", "name: D,"));
    let gone = Change::Gone(Key::Node("d".into()));
    let store = &mut world.agent("d").store;
    store.apply([gone].into_iter().chain(nodes));
    let (_, report) = world.pass("d");
    let entry = &report.unwrap().preflight[0];
    assert_eq!(entry.check, PreflightCheck::NodeName);
    assert!(
        entry.message.contains("no Node is named d") && entry.message.ends_with("there is D"),
        "{entry:?}"
    );
    let (_, report) = world.pass("b1");
    assert!(report.unwrap().preflight.is_empty());
}
