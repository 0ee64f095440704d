//! A VirtualService's life on the kernels of its nodes.

use super::*;

#[test]
fn agents_bring_a_virtual_service_up_and_take_it_away_without_a_trace() {
    for reported in [false, true] {
        let mut world = World::new(reported);
        let before: Vec<Observed> = NODES.iter().map(|(name, ..)| world.look(name)).collect();
        world.settle();
        let mut answers = world.answers();
        answers.sort();
        assert_eq!(answers, ["b1", "b1", "b2", "b2"], "reported: {reported}");
        assert_eq!(world.lan.claimants(VIP), ["d".to_owned()].into());
        world.delete();
        world.settle();
        for ((name, ..), before) in NODES.iter().zip(before) {
            assert_eq!(world.look(name), before, "{name} is not as it was");
            let ledger = &world.agent(name).run_dir;
            let text = fs::read_to_string(ledger.path().join("ledger.json")).unwrap();
            assert!(
                !text.contains("10.0.0.100") && !text.contains("arp_ignore"),
                "{text}"
            );
        }
    }
}

#[test]
fn a_real_server_gets_weight_only_after_its_agent_has_reported() {
    let mut world = World::new(true);
    world.pass("d");
    let (end, report) = world.pass("d");
    assert!(end.ops.is_empty(), "{:?}", end.ops);
    let peer = report.unwrap().peer;
    let directing = &peer.directing[0];
    assert!(directing.ready.is_empty());
    assert!(
        directing
            .unready
            .values()
            .all(|refusal| refusal.reason == Reason::NotBound),
        "{directing:?}"
    );
    let (_, report) = world.pass("b1");
    let nothing = report.unwrap().peer.bound;
    assert!(
        nothing.is_empty(),
        "no director has reported that it can serve"
    );
    let change = vec![Change::Peer("d".into(), peer)];
    world.agent("b1").store.apply(change);
    let (_, report) = world.pass("b1");
    let peer = report.unwrap().peer;
    assert!(peer.bound.contains(VIP));
    world
        .agent("d")
        .store
        .apply(vec![Change::Peer("b1".into(), peer)]);
    let (end, report) = world.pass("d");
    assert_eq!(
        end.ops,
        ["ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.11:80 -g -w 1"]
    );
    assert_eq!(
        report.unwrap().peer.directing[0].ready,
        [IpAddr::from([10, 0, 0, 11])].into()
    );
}

#[test]
fn a_pass_without_news_writes_nothing() {
    let mut world = World::new(false);
    world.settle();
    for (name, ..) in NODES {
        let ledger = world.agent(name).run_dir.path().join("ledger.json");
        fs::remove_file(&ledger).unwrap();
        let ops = world.lan.ops(name);
        let (end, first) = world.pass(name);
        let (_, second) = world.pass(name);
        assert!(end.ops.is_empty() && end.error.is_none(), "{end:?}");
        assert_eq!(world.lan.ops(name), ops);
        assert!(!ledger.exists(), "the ledger was written");
        assert_eq!(first, second, "a report without news");
    }
}

#[test]
fn an_agent_killed_after_any_op_is_followed_by_one_that_finishes_and_can_undo_all() {
    for name in ["d", "b1"] {
        let mut world = World::new(false);
        let ops = {
            world.settle();
            world.lan.ops(name)
        };
        for after in 0..ops {
            let mut world = World::new(false);
            let pristine = world.look(name);
            let others: Vec<_> = NODES
                .iter()
                .map(|(other, ..)| *other)
                .filter(|other| *other != name)
                .collect();
            for other in others {
                world.pass(other);
            }
            // As many passes as it takes until the kill.
            let doomed = world.lan.effects() + after + 1;
            world.lan.expect(Some(Misfortune::KilledBefore(doomed)));
            for _ in 0..6 {
                world.pass(name);
                world.now += Duration::from_secs(1);
            }
            world.lan.expect(None);
            let run_dir = world.agent(name).run_dir.path().to_owned();
            world.restart(name, &run_dir);
            world.settle();
            assert_eq!(
                world.answers().iter().filter(|by| *by == "b1").count(),
                2,
                "{name} after {after} ops"
            );
            world.delete();
            world.settle();
            assert_eq!(world.look(name), pristine, "{name} after {after} ops");
        }
    }
}
