//! Which node is named as the holder when several report that they are, or when none does.

use super::*;

#[test]
fn while_a_vip_moves_the_one_that_should_hold_it_is_named() {
    let mut ground = Ground::serving();
    ground.report("r1", |report| report.peer.held = one(VIP));
    assert_eq!(holder(&ground, "web"), "d");
}

fn came(report: &mut Report, second: i64) {
    report.peer.held = one(VIP);
    report.moves.push(Move {
        at: Timestamp::from_second(second).unwrap(),
        vips: one(VIP),
        from: None,
        cause: TakeCause::HolderDown,
        after: Duration::ZERO,
    });
}

#[test]
fn a_director_that_lost_its_power_with_the_vip_is_not_named_any_more() {
    let mut ground = Ground::serving();
    ground.report("d", |report| came(report, 100));
    ground.report("r1", |report| came(report, 200));
    assert_eq!(holder(&ground, "web"), "r1");
    ground.report("d", |report| came(report, 300));
    assert_eq!(holder(&ground, "web"), "d");
}

#[test]
fn each_vip_has_its_own_holder() {
    let mut ground = Ground::serving();
    let status = ground.status("web");
    let summary = status.summary.unwrap();
    assert_eq!((status.holders.len(), summary.holders.as_str()), (1, "d"));
    ground.report("d", |report| report.peer.held = IpRanges::default());
    let status = ground.status("web");
    let summary = status.summary.unwrap();
    assert_eq!((status.holders.len(), summary.holders.as_str()), (0, ""));
}

#[test]
fn a_node_that_is_no_director_counts_neither_as_a_holder_nor_as_a_witness() {
    let mut ground = Ground::serving();
    ground.directors = Some([("d".into(), vec![ip("10.0.0.1")])].into_iter().collect());
    let conflict = Conflict {
        own: None,
        rivals: [("02:00:00:00:00:09".parse().unwrap(), None)].into(),
    };
    ground.report("r1", |report| {
        came(report, 900);
        let at = (ip(VIP), "eth0".parse().unwrap());
        report.conflicts.insert(at, conflict.clone());
    });
    assert_eq!(ground.status("web").holders[0].node, "d");
    assert_eq!(ground.condition("web", "VIPConflict"), "False NoConflict");
    let warning = Refusal::new(Reason::KubeProxyDeletes, "exclude the VIPs");
    let warnings = BTreeMap::from([(warning, one(VIP))]);
    ground.report("r1", |report| report.warnings = warnings.clone());
    let condition = ground.condition("web", "KubeProxyConflict");
    assert_eq!(condition, "False NoConflict");
    ground.report("d", |report| {
        let at = (ip(VIP), "eth0".parse().unwrap());
        report.conflicts.insert(at, conflict);
        report.warnings = warnings;
    });
    assert_eq!(ground.condition("web", "VIPConflict"), "True VIPConflict");
    let condition = ground.condition("web", "KubeProxyConflict");
    assert_eq!(condition, "True KubeProxyDeletes");
}

#[test]
fn a_vip_that_two_directors_report_as_held_is_a_conflict_whatever_the_wire_says() {
    let mut ground = Ground::serving();
    let held = one(VIP);
    let (d, e) = (NodeName::from("d"), NodeName::from("e"));
    let holders = [(&d, &held), (&e, &held)];
    let vips = || [ip(VIP)].into_iter();
    ground.double_holders.update(vips(), &holders, PATIENCE);
    assert_eq!(ground.condition("web", "VIPConflict"), "False NoConflict");
    ground.double_holders.update(vips(), &holders, PATIENCE * 2);
    assert_eq!(ground.condition("web", "VIPConflict"), "True VIPConflict");
    let message = ground.message("web", "VIPConflict");
    assert!(
        message.contains("10.0.0.100 is reported as held by d and e"),
        "{message}"
    );
    // The holder goes on serving.
    assert_eq!(ground.condition("web", "Ready"), "True Serving");
    ground
        .double_holders
        .update(vips(), &holders[..1], PATIENCE * 3);
    assert_eq!(ground.condition("web", "VIPConflict"), "False NoConflict");
}
