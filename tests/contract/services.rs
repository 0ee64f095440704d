use directway::{
    model::{Flag, Persistence, Protocol, Scheduler, Service, ServiceKey},
    plan::Op,
};

use crate::world::{EEXIST, ENOENT, ESRCH, VIP, World, add_destination, http, ip, service};

pub fn every_scheduler_and_flag_round_trips(world: &mut World) {
    let mut expected = Vec::new();
    for (port, scheduler) in (1..).zip(Scheduler::ALL) {
        for protocol in Protocol::ALL {
            // All flags at once for TCP, and a single one for the other protocols.
            let its = scheduler.flags().iter().map(|(flag, _)| *flag);
            let all = protocol == Protocol::Tcp;
            let mut flags: Vec<Flag> = its.filter(|it| all || *it == Flag::Port).collect();
            flags.sort_unstable();
            let key = ServiceKey {
                vip: ip(VIP),
                port,
                protocol,
            };
            expected.push((
                key,
                Service {
                    flags,
                    ..service(scheduler.clone())
                },
            ));
        }
    }
    let ops: Vec<Op> = expected
        .iter()
        .map(|(key, service)| Op::AddService(*key, service.clone().into()))
        .collect();
    for (op, result) in ops.iter().zip(world.kernel.apply(&ops)) {
        assert_eq!(result, Ok(()), "{op}");
    }
    assert_eq!(
        world.observe().net.services,
        expected.iter().cloned().collect()
    );
    let ops: Vec<Op> = expected
        .iter()
        .map(|(key, _)| Op::DelService(*key))
        .collect();
    assert!(world.kernel.apply(&ops).iter().all(Result::is_ok));
    assert!(world.observe().net.services.is_empty());
}

pub fn persistence_round_trips(world: &mut World) {
    for prefix_length in [32, 24, 1] {
        let persistence = Some(Persistence {
            timeout_seconds: 300,
            prefix_length,
        });
        let wanted = Service {
            persistence,
            ..service(Scheduler::Wrr)
        };
        world.must([Op::AddService(http(VIP), wanted.clone().into())]);
        assert_eq!(world.observe().net.services[&http(VIP)], wanted);
        world.must([Op::EditService(http(VIP), service(Scheduler::Wrr).into())]);
        assert_eq!(world.observe().net.services[&http(VIP)].persistence, None);
        world.must([Op::DelService(http(VIP))]);
    }
}

pub fn a_service_is_added_once(world: &mut World) {
    world.must([Op::AddService(http(VIP), service(Scheduler::Rr).into())]);
    world.refused(
        Op::AddService(http(VIP), service(Scheduler::Wrr).into()),
        EEXIST,
    );
    assert_eq!(
        world.observe().net.services[&http(VIP)].scheduler,
        Scheduler::Rr
    );
}

pub fn an_unknown_scheduler_is_named(world: &mut World) {
    let unknown = || service(Scheduler::Other("nosuch".to_owned()));
    let message = world.refused(Op::AddService(http(VIP), unknown().into()), ENOENT);
    assert!(message.contains("ip_vs_nosuch"), "{message}");
    world.must([Op::AddService(http(VIP), service(Scheduler::Rr).into())]);
    world.refused(Op::EditService(http(VIP), unknown().into()), ENOENT);
    assert_eq!(
        world.observe().net.services[&http(VIP)].scheduler,
        Scheduler::Rr
    );
}

pub fn a_missing_service_cannot_be_changed(world: &mut World) {
    world.refused(
        Op::EditService(http(VIP), service(Scheduler::Rr).into()),
        ESRCH,
    );
    world.refused(Op::DelService(http(VIP)), ESRCH);
}

pub fn a_service_is_read_by_its_key(world: &mut World) {
    let read = |world: &mut World, key| {
        let alone = world.kernel.observe_service(&key).unwrap();
        let whole = world.kernel.observe().unwrap();
        let seen = alone.net.services.get(&key).cloned();
        assert_eq!(seen.as_ref(), whole.net.services.get(&key));
        seen
    };
    assert_eq!(read(world, http(VIP)), None);
    world.must([Op::AddService(http(VIP), service(Scheduler::Rr).into())]);
    world.must([
        add_destination(http(VIP), "10.77.0.11", 3),
        add_destination(http(VIP), "10.77.0.12", 0),
    ]);
    let seen = read(world, http(VIP)).unwrap();
    assert_eq!(seen.destinations.len(), 2);
    for other in [
        ServiceKey {
            port: 81,
            ..http(VIP)
        },
        ServiceKey {
            protocol: Protocol::Udp,
            ..http(VIP)
        },
        http("10.77.0.99"),
    ] {
        assert_eq!(read(world, other), None, "{other}");
    }
    world.must([Op::DelService(http(VIP))]);
    assert_eq!(read(world, http(VIP)), None);
}

pub fn a_changed_service_keeps_its_destinations(world: &mut World) {
    let key = http(VIP);
    world.must([
        Op::AddService(key, service(Scheduler::Rr).into()),
        add_destination(key, "10.77.0.12", 3),
        Op::EditService(
            key,
            Service {
                flags: vec![Flag::Port],
                ..service(Scheduler::Mh)
            }
            .into(),
        ),
    ]);
    let seen = world.observe().net.services[&key].clone();
    assert_eq!(
        (seen.scheduler, seen.flags, seen.destinations.len()),
        (Scheduler::Mh, vec![Flag::Port], 1)
    );
    // the destinations are deleted with their service
    world.must([
        Op::DelService(key),
        Op::AddService(key, service(Scheduler::Rr).into()),
    ]);
    assert!(world.observe().net.services[&key].destinations.is_empty());
}

pub fn services_agree_with_ipvsadm(world: &mut World) {
    let Some(judge) = &world.judge else { return };
    judge.node(&format!(
        "ipvsadm -A -t {VIP}:80 -s wrr -p 300 -M 255.255.0.0
         ipvsadm -A -u {VIP}:53 -s sh -b sh-port,sh-fallback
         ipvsadm -A -u {VIP}:54 -s rr -o
         ipvsadm -A -f 7 -s rr"
    ));
    let observed = world.observe();
    let udp = |port| ServiceKey {
        vip: ip(VIP),
        port,
        protocol: Protocol::Udp,
    };
    let persistence = Some(Persistence {
        timeout_seconds: 300,
        prefix_length: 16,
    });
    let expected = [
        (
            http(VIP),
            Service {
                persistence,
                ..service(Scheduler::Wrr)
            },
        ),
        (
            udp(53),
            Service {
                flags: vec![Flag::Fallback, Flag::Port],
                ..service(Scheduler::Sh)
            },
        ),
        (
            udp(54),
            Service {
                flags: vec![Flag::OnePacket],
                ..service(Scheduler::Rr)
            },
        ),
    ];
    assert_eq!(observed.net.services, expected.iter().cloned().collect());
    assert_eq!(observed.fwmark_services, 1);

    // The reverse: what we add is what ipvsadm, given the op's own text, would have added.
    let before = world
        .judge
        .as_ref()
        .unwrap()
        .node("ipvsadm -Sn | grep -v fwmark | grep -v -- -f | sort");
    world.must(expected.iter().map(|(key, _)| Op::DelService(*key)));
    world.must(
        expected
            .into_iter()
            .map(|(key, service)| Op::AddService(key, service.into())),
    );
    let judge = world.judge.as_ref().unwrap();
    assert_eq!(judge.node("ipvsadm -Sn | grep -v -- -f | sort"), before);
}
