//! Conflicts with other hosts and with kube-proxy.

use super::*;

#[test]
fn a_rival_on_the_wire_is_a_conflict_that_goes_on_being_served() {
    let mut ground = Ground::serving();
    ground.report("d", |report| {
        let conflict = Conflict {
            own: "02:00:00:00:00:01".parse().ok(),
            rivals: [("02:00:00:00:00:66".parse().unwrap(), Some("r1".into()))].into(),
        };
        let at = (ip(VIP), "eth0".parse().unwrap());
        report.conflicts.insert(at, conflict);
        let refusal = Refusal::new(Reason::VipConflict, "it stays here");
        report.refused.insert(VsKey::new("default", "web"), refusal);
    });
    assert_eq!(ground.condition("web", "VIPConflict"), "True VIPConflict");
    assert_eq!(
        ground.message("web", "VIPConflict"),
        format!(
            "{VIP} is answered by 02:00:00:00:00:66 (node r1) and by d at 02:00:00:00:00:01, on eth0: take the address from that host, or use another VIP"
        )
    );
    assert_eq!(ground.condition("web", "Ready"), "True Serving");
    // If the director could not claim the VIP, it serves no client.
    ground.report("d", |report| report.peer.held = IpRanges::default());
    assert_eq!(ground.condition("web", "Ready"), "False VIPConflict");
}

#[test]
fn kube_proxy_s_conflict_is_told_and_disturbs_no_other_condition() {
    let mut ground = Ground::serving();
    let key = VsKey::new("default", "web");
    let mut event_filter = EventFilter::begin(&ground.cluster, &ground.directors());
    let mut now = Duration::ZERO;
    let kind = "KubeProxyConflict";
    assert_eq!(ground.condition("web", kind), "False NoConflict");
    for (reason, condition, event) in [
        (
            Reason::KubeProxyUnknown,
            "Unknown KubeProxyUnknown",
            "Warning",
        ),
        (Reason::KubeProxyIpvs, "True KubeProxyIPVS", "Warning"),
        (Reason::KubeProxyDeletes, "True KubeProxyDeletes", "Warning"),
        // A warning that only a newer agent has.
        (Reason::Pending, "False NoConflict", "Normal"),
    ] {
        ground.report("d", |report| {
            let warning = Refusal::new(reason, "set ipvs.excludeCIDRs");
            report.warnings = [(warning, one(VIP))].into();
        });
        assert_eq!(ground.condition("web", kind), condition);
        let conditions = ground.status("web").conditions;
        let events = event_filter.events(&key, &conditions, now);
        let told: Vec<_> = events
            .iter()
            .map(|event| (event.action.as_str(), format!("{:?}", event.type_)))
            .collect();
        assert_eq!(told, [(kind, event.to_owned())]);
        assert_eq!(ground.condition("web", "Ready"), "True Serving");
        now += PAUSE;
    }
    // A warning about another VIP does not count. Of several warnings the gravest counts, whichever node reports it.
    let warn = |ground: &mut Ground, node, reason, vip| {
        ground.report(node, |report| {
            let warning = Refusal::new(reason, "set ipvs.excludeCIDRs");
            report.warnings = [(warning, one(vip))].into();
        });
    };
    warn(&mut ground, "d", Reason::KubeProxyDeletes, "10.0.0.101");
    assert_eq!(ground.condition("web", kind), "False NoConflict");
    warn(&mut ground, "d", Reason::KubeProxyIpvs, VIP);
    warn(&mut ground, "r1", Reason::KubeProxyUnknown, VIP);
    assert_eq!(ground.condition("web", kind), "True KubeProxyIPVS");
    let message = ground.message("web", kind);
    assert!(message.starts_with("10.0.0.100 on d: set"), "{message}");
}

#[test]
fn what_another_program_undoes_is_told_of_directors_and_real_servers() {
    let mut ground = Ground::serving();
    let kind = "NodeConflict";
    assert_eq!(ground.condition("web", kind), "False NoConflict");
    let warn = |ground: &mut Ground, node, vip| {
        ground.report(node, |report| {
            let warning = Refusal::new(Reason::Overwritten, "another program undoes it");
            report.warnings = [(warning, one(vip))].into();
        });
    };
    warn(&mut ground, "r1", "10.0.0.101");
    assert_eq!(ground.condition("web", kind), "False NoConflict");
    for node in ["r1", "d"] {
        warn(&mut ground, node, VIP);
        assert_eq!(ground.condition("web", kind), "True Overwritten");
        let message = ground.message("web", kind);
        assert_eq!(
            message,
            format!("{VIP} on {node}: another program undoes it")
        );
        assert_eq!(ground.condition("web", "Ready"), "True Serving");
        ground.report(node, |report| report.warnings.clear());
        assert_eq!(ground.condition("web", kind), "False NoConflict");
    }
}
