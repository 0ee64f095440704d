//! A device that is refused while the VIP stays bound on another one.

use super::*;

#[test]
fn what_was_bound_before_goes_on_being_served_and_the_refusal_is_named() {
    let mut ground = Ground::serving();
    let refused = || Refusal::new(Reason::DeviceNotAllowed, "wg0 is not allowed");
    for node in ["d", "r1"] {
        ground.report(node, |report| {
            report
                .refused
                .insert(VsKey::new("default", "web"), refused());
        });
    }
    assert_eq!(ground.condition("web", "Programmed"), "True Programmed");
    assert_eq!(ground.condition("web", "Ready"), "True Degraded");
    let message = ground.message("web", "Ready");
    assert!(
        message.starts_with("2 of 2")
            && message.ends_with("r1: DeviceNotAllowed: wg0 is not allowed"),
        "{message}"
    );
}
