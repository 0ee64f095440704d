//! VirtualServices that share a VIP are judged by their own services.

use super::*;

#[test]
fn each_is_ready_if_its_own_real_servers_are() {
    let mut ground = Ground::serving();
    let spec =
        json!({"vips": [VIP], "ports": [{"port": 443}], "realServers": {"nodeSelector": {}}});
    ground.apply_spec("tls", "u-tls", 2, spec);
    ground.report("d", |_| ());
    assert_eq!(ground.condition("tls", "Ready"), "True Serving");
    let not_ready = Refusal::new(Reason::EndpointNotReady, "its endpoint is not ready");
    ground.report("d", |report| {
        let unready = [ip("10.0.0.11"), ip("10.0.0.12")].map(|ip| (ip, not_ready.clone()));
        report.peer.directing.push(Directing {
            vips: one(VIP),
            ports: ["443/TCP".parse().unwrap()].into(),
            unready: unready.into(),
            ..Directing::default()
        });
    });
    assert_eq!(ground.condition("web", "Ready"), "True Serving");
    assert_eq!(ground.condition("tls", "Ready"), "False EndpointNotReady");
    let counts = |name| ground.status(name).summary.unwrap().real_servers;
    assert_eq!(
        (counts("web"), counts("tls")),
        ("2/2".to_owned(), "0/2".to_owned())
    );
}

/// `d` is preferred and lacks a scheduler's module; `e` holds the VIP instead.
#[test]
fn a_holder_names_the_director_that_serves_less() {
    let mut ground = Ground::serving();
    ground.node("e", "director", "10.0.0.2");
    for (name, port) in [("web", 80), ("tls", 443)] {
        let spec = json!({
            "vips": [VIP], "ports": [{"port": port}], "realServers": {"nodeSelector": {}}, "directors": {"preferred": "d"},
        });
        ground.apply_spec(name, &format!("u-{name}"), 2, spec);
    }
    let missing = Refusal::new(Reason::SchedulerMissing, "ip_vs_sh is missing");
    ground.report("d", |report| {
        report
            .refused
            .insert(VsKey::new("default", "tls"), missing.clone());
    });
    assert_eq!(
        ground.condition("tls", "Programmed"),
        "False SchedulerMissing"
    );
    assert_eq!(ground.message("web", "Programmed"), "d holds 10.0.0.100");
    let lacks = |ground: &mut Ground, name| {
        ground.report(name, |report| report.peer.incomplete = one(VIP));
    };
    lacks(&mut ground, "d");
    assert_eq!(ground.message("web", "Programmed"), "d holds 10.0.0.100");
    // Nobody holds it for a moment: the one that should is named.
    ground.report("d", |report| report.peer.held = IpRanges::default());
    ground.report("e", |_| ());
    assert!(
        ground
            .message("web", "Programmed")
            .starts_with("e does not hold")
    );
    ground.report("e", |report| {
        report.peer.held = one(VIP);
        report.moves.push(Move {
            at: Timestamp::from_second(900).unwrap(),
            vips: one(VIP),
            from: Some("d".to_owned()),
            cause: TakeCause::Planned,
            after: Duration::from_millis(31),
        });
    });
    assert_eq!(ground.condition("tls", "Programmed"), "True Programmed");
    let held = "e holds 10.0.0.100; d does not serve everything behind it: ";
    let why = |end: &str| format!("{held}{end}");
    let missing = "SchedulerMissing: ip_vs_sh is missing";
    assert_eq!(ground.message("tls", "Programmed"), why(missing));
    let elsewhere = "directway status says why";
    assert_eq!(ground.message("web", "Programmed"), why(elsewhere));
    let key = VsKey::new("default", "web");
    let web = ground.cluster.snapshot().virtual_services[&key].clone();
    let mut event_filter = EventFilter::default();
    let directors = ground.directors();
    let event = event_filter.holder(&web.unwrap(), &ground.cluster, &directors, Duration::ZERO);
    assert_eq!(
        event.unwrap().note.unwrap(),
        "e took 10.0.0.100 from d: planned because d does not serve everything there, after 31 ms"
    );
    // The holder is no better any more.
    lacks(&mut ground, "e");
    assert_eq!(ground.message("web", "Programmed"), "e holds 10.0.0.100");
}
