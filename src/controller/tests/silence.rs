//! What is said while the holder's kubelet or agent is silent, and where nobody asked.

use super::*;

/// What the Leases of these agents show at this second.
fn hear(ground: &mut Ground, second: u64, leases: &[(&str, &str)]) {
    let leases = leases.iter();
    let leases = leases.map(|(name, renewed)| ((*name).into(), (*renewed).to_owned()));
    let now = Duration::from_secs(second);
    ground.heartbeats.observe(&leases.collect(), true, now);
}

#[test]
fn of_a_holder_whose_machine_is_silent_nothing_is_known() {
    let mut ground = Ground::serving();
    assert_eq!(ground.condition("web", "Ready"), "True Serving");
    ground.silence("d");
    for kind in ["Programmed", "Ready"] {
        assert_eq!(ground.condition("web", kind), "Unknown ReportStale");
        let message = ground.message("web", kind);
        assert!(message.contains("is the machine up?"), "{message}");
    }
    ground.report("r1", |report| report.peer.held = one(VIP));
    assert_eq!(holder(&ground, "web"), "r1");
}

#[test]
fn of_a_holder_whose_agent_is_silent_nothing_is_known() {
    let mut ground = Ground::serving();
    hear(&mut ground, 0, &[("d", "1")]);
    assert_eq!(ground.condition("web", "Ready"), "True Serving");
    hear(&mut ground, SILENCE.as_secs(), &[("d", "1")]);
    for kind in ["Programmed", "Ready", "VIPConflict"] {
        assert_eq!(ground.condition("web", kind), "Unknown ReportStale");
        let message = ground.message("web", kind);
        assert!(message.contains("its agent is silent"), "{message}");
    }
    assert_eq!(
        ground.condition("web", "KubeProxyConflict"),
        "Unknown Pending"
    );
    let status = ground.status("web");
    assert_eq!(status.holders[0].node, "d", "its kernel goes on");
    assert_eq!(status.summary.unwrap().directors, "0/1");
    hear(&mut ground, SILENCE.as_secs() + 1, &[("d", "2")]);
    assert_eq!(ground.condition("web", "Ready"), "True Serving");
}

#[test]
fn a_controller_that_begins_to_lead_does_not_take_a_silent_agent_for_alive() {
    let mut ground = Ground::serving();
    hear(&mut ground, 0, &[("d", "1")]);
    hear(&mut ground, SILENCE.as_secs(), &[("d", "1")]);
    ground.write_back();
    ground.heartbeats = Heartbeats::default();
    hear(&mut ground, 100, &[("d", "1")]);
    for kind in ["Programmed", "Ready", "VIPConflict"] {
        assert_eq!(ground.condition("web", kind), "Unknown ReportStale");
    }
    hear(&mut ground, 101, &[("d", "2")]);
    assert_eq!(ground.condition("web", "Ready"), "True Serving");
    // An agent of which nothing was ever said counts as alive until it is known to be silent.
    let mut ground = Ground::serving();
    hear(&mut ground, 100, &[("d", "1")]);
    assert_eq!(ground.condition("web", "Ready"), "True Serving");
}

#[test]
fn a_real_server_whose_agent_is_silent_goes_on_being_counted_and_is_named() {
    let mut ground = Ground::serving();
    hear(&mut ground, 0, &[("r1", "1"), ("r2", "1")]);
    hear(&mut ground, SILENCE.as_secs(), &[("r1", "1"), ("r2", "2")]);
    assert_eq!(ground.condition("web", "Ready"), "True Serving");
    let message = ground.message("web", "Ready");
    assert!(message.ends_with("; nothing is heard of r1"), "{message}");
    assert!(message.starts_with("2 of 2"), "{message}");
}

#[test]
fn where_nobody_asks_it_is_not_said_that_nobody_answers() {
    let mut ground = Ground::new();
    for kind in ["VIPConflict", "KubeProxyConflict"] {
        assert_eq!(ground.condition("web", kind), "Unknown Pending");
    }
    ground.report("d", |_| {});
    assert_eq!(ground.condition("web", "VIPConflict"), "Unknown Pending");
    assert_eq!(
        ground.condition("web", "KubeProxyConflict"),
        "False NoConflict"
    );
    let ground = Ground::serving();
    assert_eq!(ground.condition("web", "VIPConflict"), "False NoConflict");
    let message = ground.message("web", "VIPConflict");
    assert_eq!(
        message,
        format!("d asks, and nobody else answers for {VIP}")
    );
    let mut ground = Ground::serving();
    ground.apply("broken", "u-broken", 1, json!(["127.0.0.1"]));
    for kind in ["VIPConflict", "KubeProxyConflict"] {
        assert_eq!(ground.condition("broken", kind), "Unknown Pending");
    }
}

#[test]
fn a_conflict_that_a_silent_director_saw_is_not_said_for_ever() {
    let mut ground = Ground::serving();
    ground.node("e", "director", "10.0.0.2");
    ground.report("e", |report| {
        let conflict = Conflict {
            own: None,
            rivals: [("02:00:00:00:00:66".parse().unwrap(), None)].into(),
        };
        let at = (ip(VIP), "eth0".parse().unwrap());
        report.conflicts.insert(at, conflict);
    });
    assert_eq!(ground.condition("web", "VIPConflict"), "True VIPConflict");
    ground.silence("e");
    assert_eq!(ground.condition("web", "VIPConflict"), "False NoConflict");
}

#[test]
fn silence_is_told_once_and_only_of_ready() {
    let mut ground = Ground::serving();
    let key = VsKey::new("default", "web");
    let mut event_filter = EventFilter::begin(&ground.cluster, &ground.directors());
    let mut now = Duration::ZERO;
    let mut told = |ground: &Ground| {
        now += PAUSE;
        let conditions = ground.status("web").conditions;
        let events = event_filter.events(&key, &conditions, now);
        let told = events.into_iter();
        told.map(|it| (it.action, it.reason, format!("{:?}", it.type_)))
            .collect::<Vec<_>>()
    };
    let event = |reason: &str, kind: &str| {
        [("Ready", reason, kind)].map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()))
    };
    assert_eq!(told(&ground), []);
    hear(&mut ground, 0, &[("d", "1")]);
    hear(&mut ground, SILENCE.as_secs(), &[("d", "1")]);
    assert_eq!(told(&ground), event("ReportStale", "Warning"));
    assert_eq!(told(&ground), []);
    hear(&mut ground, 100, &[("d", "2")]);
    assert_eq!(told(&ground), event("Serving", "Normal"));
}
