use directway::{
    model::{Connections, Destination, Flag, Forward, Scheduler, Service},
    plan::Op,
};

use crate::world::{
    EEXIST, EINVAL, ENOENT, ESRCH, NODE, VIP, World, add_destination, http, ip, service,
};

const SERVER: &str = "10.77.0.12";

fn with_service(world: &mut World) {
    world.must([Op::AddService(http(VIP), service(Scheduler::Wrr).into())]);
}

pub fn destinations_are_added_weighed_and_deleted(world: &mut World) {
    with_service(world);
    world.must([
        add_destination(http(VIP), SERVER, 3),
        add_destination(http(VIP), "10.77.0.13", 65535),
    ]);
    let seen = world.observe().net.services[&http(VIP)]
        .destinations
        .clone();
    assert_eq!(seen[&ip(SERVER)], Destination::direct(3));
    assert_eq!(seen[&ip("10.77.0.13")], Destination::direct(65535));
    world.must([Op::EditDestination(
        http(VIP),
        ip(SERVER),
        Destination::direct(7),
    )]);
    assert_eq!(
        world.observe().net.services[&http(VIP)].destinations[&ip(SERVER)].weight,
        7
    );
    world.must([Op::DelDestination(http(VIP), ip(SERVER))]);
    assert!(
        !world.observe().net.services[&http(VIP)]
            .destinations
            .contains_key(&ip(SERVER))
    );
}

pub fn a_destination_is_added_once(world: &mut World) {
    with_service(world);
    world.must([add_destination(http(VIP), SERVER, 1)]);
    world.refused(add_destination(http(VIP), SERVER, 2), EEXIST);
    assert_eq!(
        world.observe().net.services[&http(VIP)].destinations[&ip(SERVER)].weight,
        1
    );
}

pub fn a_missing_destination_cannot_be_changed(world: &mut World) {
    with_service(world);
    for op in [
        Op::EditDestination(http(VIP), ip(SERVER), Destination::direct(1)),
        Op::QuiesceDestination(http(VIP), ip(SERVER)),
        Op::DelDestination(http(VIP), ip(SERVER)),
        Op::DelForeignDestination(http(VIP), format!("{SERVER}:81").parse().unwrap()),
    ] {
        let message = world.refused(op, ENOENT);
        assert!(message.contains(SERVER), "{message}");
    }
}

pub fn a_destination_needs_its_service(world: &mut World) {
    for op in [
        add_destination(http(VIP), SERVER, 1),
        Op::EditDestination(http(VIP), ip(SERVER), Destination::direct(1)),
        Op::QuiesceDestination(http(VIP), ip(SERVER)),
        Op::DelDestination(http(VIP), ip(SERVER)),
    ] {
        world.refused(op, ESRCH);
    }
}

pub fn a_group_address_is_no_real_server(world: &mut World) {
    with_service(world);
    for address in ["224.0.0.5", "10.77.0.255", "255.255.255.255"] {
        let message = world.refused(add_destination(http(VIP), address, 1), EINVAL);
        assert!(message.contains(address), "{message}");
    }
}

/// The kernel checks the kind of address, not the routes; directors check that a real server is within reach.
pub fn a_real_server_out_of_reach_is_accepted(world: &mut World) {
    with_service(world);
    world.must([add_destination(http(VIP), "192.0.2.1", 1)]);
}

pub fn this_node_may_be_a_real_server(world: &mut World) {
    with_service(world);
    world.must([add_destination(http(VIP), NODE, 1)]);
    let seen = world.observe().net.services[&http(VIP)].destinations[&ip(NODE)];
    assert_eq!(seen, Destination::direct(1));
}

pub fn a_destination_without_weight_reports_its_connections(world: &mut World) {
    with_service(world);
    world.must([add_destination(http(VIP), SERVER, 1)]);
    assert!(world.observe().draining.is_empty());
    world.must([Op::QuiesceDestination(http(VIP), ip(SERVER))]);
    let observed = world.observe();
    assert_eq!(
        observed.net.services[&http(VIP)].destinations[&ip(SERVER)],
        Destination::direct(0)
    );
    assert_eq!(
        observed.draining.get(&(http(VIP), ip(SERVER))),
        Some(&Connections::default())
    );
}

pub fn many_ops_each_get_their_own_result(world: &mut World) {
    with_service(world);
    // three batches; every seventh real server is there already
    let address = |n: u32| format!("10.77.0.{}", 20 + n);
    for n in (0..150).step_by(7) {
        world.must([add_destination(http(VIP), &address(n), 9)]);
    }
    let ops: Vec<Op> = (0..150)
        .map(|n| add_destination(http(VIP), &address(n), 1))
        .collect();
    let results = world.kernel.apply(&ops);
    assert_eq!(results.len(), ops.len());
    for (n, result) in (0..).zip(&results) {
        assert_eq!(result.is_err(), n % 7 == 0, "{}: {result:?}", ops[n]);
    }
    let seen = world.observe().net.services[&http(VIP)]
        .destinations
        .clone();
    assert_eq!(seen.len(), 150);
    for (n, destination) in (0..150u32).map(|n| (n, seen[&ip(&address(n))])) {
        assert_eq!(destination.weight, if n % 7 == 0 { 9 } else { 1 });
    }
}

pub fn destinations_agree_with_ipvsadm(world: &mut World) {
    let Some(judge) = &world.judge else { return };
    judge.node(&format!(
        "ipvsadm -A -t {VIP}:80 -s mh -b mh-port
         ipvsadm -a -t {VIP}:80 -r {SERVER}:80 -g -w 3
         ipvsadm -a -t {VIP}:80 -r 10.77.0.13:80 -i -w 1
         ipvsadm -a -t {VIP}:80 -r 10.77.0.14:80 -m -w 0
         ipvsadm -a -t {VIP}:80 -r 10.77.0.15:81 -m -w 1
         ipvsadm -A -f 7 -s rr; ipvsadm -a -f 7 -r {SERVER} -g"
    ));
    let observed = world.observe();
    let other = "10.77.0.15:81".parse().unwrap();
    let foreign = Destination {
        weight: 1,
        forward: Forward::Masquerade,
    };
    assert_eq!(
        observed.foreign_destinations,
        [((http(VIP), other), foreign)].into()
    );
    let seen = &observed.net.services[&http(VIP)].destinations;
    let expected = [
        (ip(SERVER), Destination::direct(3)),
        (
            ip("10.77.0.13"),
            Destination {
                weight: 1,
                forward: Forward::Tunnel,
            },
        ),
        (
            ip("10.77.0.14"),
            Destination {
                weight: 0,
                forward: Forward::Masquerade,
            },
        ),
    ];
    assert_eq!(*seen, expected.into_iter().collect());

    // The reverse: ipvsadm shows what our edits did. They turn a foreign forwarding method into direct routing.
    world.must([
        Op::DelForeignDestination(http(VIP), other),
        Op::EditDestination(http(VIP), ip("10.77.0.13"), Destination::direct(5)),
        Op::EditService(
            http(VIP),
            Service {
                flags: vec![Flag::Port],
                ..service(Scheduler::Mh)
            }
            .into(),
        ),
    ]);
    let text = world.judge.as_ref().unwrap().node("ipvsadm -Sn");
    assert!(
        text.contains(&format!("-a -t {VIP}:80 -r 10.77.0.13:80 -g -w 5")),
        "{text}"
    );
    assert!(!text.contains("10.77.0.15"), "{text}");
    assert!(
        text.contains(&format!("-A -t {VIP}:80 -s mh -b mh-port")),
        "{text}"
    );
}
