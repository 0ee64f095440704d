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
