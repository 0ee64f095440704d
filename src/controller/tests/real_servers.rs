//! Real servers that get no connections, and where there are none.

use super::*;

#[test]
fn a_real_server_that_gets_nothing_is_named_with_its_reason() {
    let mut ground = Ground::serving();
    let far = Refusal::new(Reason::NotOnSegment, "10.0.0.12 is behind a router");
    ground.report("d", |report| {
        take(&mut report.peer.directing[0].ready, "10.0.0.12");
        report.peer.directing[0]
            .unready
            .insert(ip("10.0.0.12"), far);
    });
    assert_eq!(ground.condition("web", "Ready"), "True Degraded");
    let message = ground.message("web", "Ready");
    assert!(
        message.contains("1 of 2") && message.contains("r2 (10.0.0.12): NotOnSegment: "),
        "{message}"
    );
    assert_eq!(ground.status("web").summary.unwrap().real_servers, "1/2");
    ground.report("d", |report| {
        report.peer.directing[0].ready = IpRanges::default()
    });
    assert_eq!(ground.condition("web", "Ready"), "False Pending");
    assert_eq!(ground.condition("web", "Programmed"), "True Programmed");
}

#[test]
fn a_real_server_that_did_not_bind_says_why_itself() {
    let mut ground = Ground::serving();
    ground.report("d", |report| {
        let group = &mut report.peer.directing[0];
        for (name, address) in [("r1", ip("10.0.0.11")), ("r2", ip("10.0.0.12"))] {
            take(&mut group.ready, &address.to_string());
            let told = Refusal::new(Reason::NotBound, format!("{name} has not reported the VIP"));
            group.unready.insert(address, told);
        }
    });
    assert_eq!(ground.condition("web", "Ready"), "False NotBound");
    ground.report("r1", |report| {
        let in_use = Refusal::new(Reason::DeviceInUse, "eth0 carries 10.0.0.11/24");
        report.refused.insert(VsKey::new("default", "web"), in_use);
    });
    ground.report("r2", |report| {
        report.preflight = [Reason::IpvsMissing, Reason::LedgerUnwritable]
            .map(|reason| Preflight {
                check: PreflightCheck::Needs(reason),
                message: format!("{reason} here"),
                fix: String::new(),
            })
            .into();
    });
    assert_eq!(ground.condition("web", "Ready"), "False DeviceInUse");
    let message = ground.message("web", "Ready");
    assert!(
        message.contains("r1 (10.0.0.11): DeviceInUse: eth0 carries")
            && message.contains("r2 (10.0.0.12): LedgerUnwritable: LedgerUnwritable here"),
        "{message}"
    );
}

#[test]
fn nodes_without_an_endpoint_are_no_real_servers() {
    let mut ground = Ground::serving();
    ground.node("r3", "backend", "10.0.0.13");
    let follow = json!({"service": {"name": "shop"}});
    ground.apply_with("web", "u-web", 2, json!([VIP]), follow);
    let directing = |ground: &mut Ground, change: fn(&mut Directing)| {
        ground.report("d", |report| change(&mut report.peer.directing[0]));
        ground.write_back();
    };
    // r3 runs no endpoint, and the director does not report it.
    directing(&mut ground, |_| ());
    assert_eq!(ground.condition("web", "Ready"), "True Serving");
    assert_eq!(ground.status("web").summary.unwrap().real_servers, "2/2");
    directing(&mut ground, |group| {
        take(&mut group.ready, "10.0.0.12");
        let pod = Refusal::new(Reason::EndpointOnPodNetwork, "give it hostNetwork: true");
        group.unready.insert(ip("10.0.0.12"), pod);
    });
    assert_eq!(ground.condition("web", "Ready"), "True Degraded");
    assert!(
        ground
            .message("web", "Ready")
            .contains("r2 (10.0.0.12): EndpointOnPodNetwork")
    );
    assert_eq!(ground.status("web").summary.unwrap().real_servers, "1/2");
    // A removed endpoint drains and is no real server any more.
    directing(&mut ground, |group| {
        group.unready.clear();
        group.draining = one("10.0.0.12");
    });
    assert_eq!(ground.condition("web", "Ready"), "True Serving");
    directing(&mut ground, |group| group.ready = IpRanges::default());
    assert_eq!(ground.condition("web", "Ready"), "False NoEndpoints");
    let message = ground.message("web", "Ready");
    assert!(
        message.contains("Service default/shop") && message.contains("service-name=shop"),
        "{message}"
    );
    assert_eq!(ground.condition("web", "Programmed"), "True Programmed");
    for name in ["r1", "r2", "r3"] {
        ground.cluster.apply([Change::Gone(Key::Node(name.into()))]);
    }
    assert_eq!(ground.condition("web", "Ready"), "False NoRealServers");
}

#[test]
fn nobody_to_direct_and_nobody_to_serve() {
    let mut ground = Ground::serving();
    for name in ["r1", "r2"] {
        ground.cluster.apply([Change::Gone(Key::Node(name.into()))]);
    }
    assert_eq!(ground.condition("web", "Ready"), "False NoRealServers");
    let mut ground = Ground::new();
    ground.cluster.apply([Change::Gone(Key::Node("d".into()))]);
    assert_eq!(ground.condition("web", "Ready"), "False NoDirector");
}
