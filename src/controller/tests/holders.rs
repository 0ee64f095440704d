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
