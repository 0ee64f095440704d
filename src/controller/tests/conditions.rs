//! What the conditions of a VirtualService that is served say, and since when.

use super::*;

#[test]
fn served_by_all_real_servers() {
    let status = Ground::serving().status("web");
    assert_eq!(status.holders[0].node, "d");
    assert_eq!(status.vips, [VIP]);
    let summary = status.summary.unwrap();
    assert_eq!(
        (
            summary.ports.as_str(),
            summary.real_servers.as_str(),
            summary.directors.as_str()
        ),
        ("80/TCP", "2/2", "1/1")
    );
    let ground = Ground::serving();
    assert_eq!(ground.condition("web", "Accepted"), "True Valid");
    assert_eq!(ground.condition("web", "Programmed"), "True Programmed");
    assert_eq!(ground.condition("web", "Ready"), "True Serving");
    assert_eq!(ground.condition("web", "VIPConflict"), "False NoConflict");
}

#[test]
fn a_transition_time_moves_only_with_the_condition() {
    let mut ground = Ground::serving();
    let time = |ground: &Ground| {
        let conditions = ground.status("web").conditions;
        conditions
            .into_iter()
            .find(|condition| condition.type_ == "Ready")
            .unwrap()
            .last_transition_time
            .0
            .as_second()
    };
    let before = time(&ground);
    ground.report("d", |report| {
        take(&mut report.peer.directing[0].ready, "10.0.0.12");
    });
    assert_eq!(ground.condition("web", "Ready"), "True Degraded");
    assert_eq!(time(&ground), before, "it is still true");
    ground.report("d", |report| {
        report.peer.directing[0].ready = IpRanges::default()
    });
    assert_eq!(time(&ground), ground.seconds);
    ground.write_back();
    assert_eq!(ground.status("web"), ground.status("web"));
    assert_eq!(time(&ground), ground.seconds - 60);
}
