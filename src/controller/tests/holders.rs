//! Which node is named as the holder when several report that they are, or when none does.

use super::*;

#[test]
fn while_a_vip_moves_the_one_that_should_hold_it_is_named() {
    let mut ground = Ground::serving();
    ground.report("r1", |report| report.peer.held = one(VIP));
    assert_eq!(ground.status("web").holder.as_deref(), Some("d"));
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
    assert_eq!(ground.status("web").holder.as_deref(), Some("r1"));
    ground.report("d", |report| came(report, 300));
    assert_eq!(ground.status("web").holder.as_deref(), Some("d"));
}

#[test]
fn of_a_holder_whose_machine_is_silent_nothing_is_known() {
    let mut ground = Ground::serving();
    assert_eq!(ground.condition("web", "Ready"), "True Serving");
    ground.silence("d");
    for kind in ["Programmed", "Ready"] {
        assert_eq!(ground.condition("web", kind), "Unknown Pending");
        let message = ground.message("web", kind);
        assert!(message.contains("is the machine up?"), "{message}");
    }
    ground.report("r1", |report| report.peer.held = one(VIP));
    assert_eq!(ground.status("web").holder.as_deref(), Some("r1"));
}
