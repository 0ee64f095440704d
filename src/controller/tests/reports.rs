//! Reports that have not come, come late or cannot be read.

use super::*;

#[test]
fn nothing_is_said_before_the_holder_has_seen_the_object() {
    let mut ground = Ground::new();
    assert_eq!(
        ground.condition("web", "Accepted"),
        "True Valid",
        "that needs no node"
    );
    assert_eq!(ground.condition("web", "Ready"), "Unknown Pending");
    assert!(
        ground
            .message("web", "Ready")
            .contains("the agent of d has not reported yet")
    );
    ground.report("d", |report| report.observed = "00000000".repeat(8));
    assert_eq!(ground.condition("web", "Ready"), "Unknown Pending");
    ground.report("d", |_| {});
    assert_eq!(ground.condition("web", "Ready"), "False NotHeld");
}

#[test]
fn a_late_report_makes_nothing_flicker_but_a_new_generation_is_not_taken_for_done() {
    let mut ground = Ground::serving();
    let before = ground.status("web");
    // Other objects are new, and the holder's digest does not cover them yet.
    for index in 0..40 {
        ground.apply(
            &format!("other-{index}"),
            &format!("u-{index}"),
            1,
            json!([format!("10.0.1.{index}")]),
        );
        assert_eq!(ground.status("web"), before);
    }
    ground.apply("web", "u-web", 2, json!([VIP]));
    assert_eq!(ground.condition("web", "Ready"), "Unknown Pending");
    assert_eq!(ground.status("web").observed_generation, Some(2));
    ground.report("d", |_| {});
    assert_eq!(ground.condition("web", "Ready"), "True Serving");
}

#[test]
fn a_garbled_report_is_no_report_and_no_reason_to_stop() {
    let mut ground = Ground::serving();
    let garbled = Box::new(Err(NoReport::Garbled("status.bound: what?".to_owned())));
    ground.cluster.apply([Change::Report("d".into(), garbled)]);
    assert_eq!(ground.condition("web", "Ready"), "Unknown Pending");
    assert!(ground.message("web", "Ready").contains("status.bound"));
}
