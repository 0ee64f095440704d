//! VirtualServices that share a VIP.

use super::*;
use crate::model::ServiceKey;

#[test]
fn services_of_one_vip_are_reported_each_with_its_own_real_servers() {
    let mut world = World::new(false);
    let tls = SERVICE
        .replace("{name: web}", "{name: tls}")
        .replace("port: 80", "port: 443")
        .replace("nodeSelector: {}", "external: [{address: 10.0.0.99}]");
    for agent in &mut world.agents {
        agent.store.apply(Change::of(&tls));
    }
    world.settle();
    let (_, report) = world.pass("d");
    let peer = report.unwrap().peer;
    let ready = |port| {
        let vip = VIP;
        let protocol = Protocol::Tcp;
        let group = peer.directing(ServiceKey {
            vip,
            port,
            protocol,
        });
        group.map(|group| (group.ready.len(), group.unready.len()))
    };
    assert_eq!(ready(80), Some((2, 0)));
    assert_eq!(ready(443), Some((0, 1)), "nobody is at 10.0.0.99");
}
