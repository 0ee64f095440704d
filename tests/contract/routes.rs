use directway::plan::Op;

use crate::world::{EEXIST, ESRCH, VIP, World, ip, on};

pub fn a_host_route_is_added_and_deleted(world: &mut World) {
    let key = on("lo", VIP);
    world.must([Op::AddRoute(key.clone())]);
    let observed = world.observe();
    assert!(observed.net.routes.contains(&key) && observed.our_routes.contains(&key));
    if let Some(judge) = &world.judge {
        let text = judge.node("ip route show table main proto 215");
        assert!(text.contains(&format!("{VIP} dev lo")), "{text}");
    }
    world.must([Op::DelRoute(key.clone())]);
    assert!(!world.observe().net.routes.contains(&key));
    world.refused(Op::DelRoute(key), ESRCH);
}

pub fn a_host_route_is_added_once(world: &mut World) {
    world.must([Op::AddRoute(on("lo", VIP))]);
    world.refused(Op::AddRoute(on("lo", VIP)), EEXIST);
}

pub fn routes_of_others_are_seen_and_left_alone(world: &mut World) {
    let Some(judge) = &world.judge else { return };
    judge.node(&format!(
        "ip route add {VIP}/32 dev eth0
         ip route add 10.77.0.101/32 via 10.77.0.12
         ip route add 10.99.0.0/16 dev eth0
         ip route add 10.77.0.102/32 dev eth0 table 100"
    ));
    let key = on("eth0", VIP);
    let observed = world.observe();
    assert_eq!(
        observed.net.routes.iter().collect::<Vec<_>>(),
        [&key],
        "only host routes of the main table"
    );
    assert!(observed.our_routes.is_empty());
    world.refused(Op::DelRoute(key.clone()), ESRCH);
    assert!(world.observe().net.routes.contains(&key));
}

pub fn next_hops_of_every_table_are_seen(world: &mut World) {
    let Some(judge) = &world.judge else { return };
    judge.node(
        "ip route add 10.96.0.0/16 via 10.77.0.12
         ip route add 10.97.0.0/16 via 10.77.0.13 table 100
         ip route add 10.98.0.0/16 nexthop via 10.77.0.14 dev eth0 nexthop via 10.77.0.15 dev eth0",
    );
    let next_hops = world.observe().next_hops;
    let expected = (12..=15).map(|host| std::net::IpAddr::from([10, 77, 0, host]));
    assert!(
        expected.into_iter().all(|ip| next_hops.contains(&ip)),
        "{next_hops:?}"
    );
    assert!(!next_hops.contains(&ip(VIP)));
}
