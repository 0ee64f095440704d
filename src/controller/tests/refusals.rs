//! VirtualServices that are refused, by all or by a director.

use super::*;

#[test]
fn a_director_that_cannot_says_why() {
    let mut ground = Ground::new();
    let refusal = Refusal::new(
        Reason::NoInterface,
        "no interface is in the network of 10.0.0.100",
    );
    ground.report("d", |report| {
        report.refused.insert(VsKey::new("default", "web"), refusal);
    });
    assert_eq!(ground.condition("web", "Programmed"), "False NoInterface");
    assert_eq!(ground.condition("web", "Ready"), "False NoInterface");
    assert!(
        ground
            .message("web", "Ready")
            .starts_with("d: no interface")
    );
    assert_eq!(ground.status("web").summary.unwrap().directors, "0/1");
    assert_eq!(ground.status("web").holders, []);
}

#[test]
fn the_younger_of_two_is_refused_and_the_winner_named() {
    let mut ground = Ground::serving();
    ground.apply("late", "u-late", 2, json!([VIP]));
    for kind in ["Accepted", "Programmed", "Ready"] {
        assert_eq!(ground.condition("late", kind), "False PortClaimed");
    }
    assert!(ground.message("late", "Accepted").contains("default/web"));
    assert_eq!(
        ground.status("late").holders,
        [],
        "the VIP is held for the other one"
    );
}

#[test]
fn a_broken_object_gets_its_reason_and_disturbs_nobody() {
    let mut ground = Ground::serving();
    ground.apply("broken", "u-broken", 1, json!(["127.0.0.1"]));
    assert_eq!(ground.condition("broken", "Accepted"), "False InvalidSpec");
    assert!(ground.message("broken", "Accepted").contains("127.0.0.1"));
    assert_eq!(ground.condition("web", "Ready"), "True Serving");
}
