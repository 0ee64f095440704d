use super::*;
use crate::kernel::fake::{Delivery, Loss, Trace};

fn ask(lan: &FakeLan) -> Trace {
    lan.send("c", ip(VIP), 80, Protocol::Tcp)
}

fn answered_by(name: &str) -> Delivery {
    Delivery::Answered {
        by: name.to_owned(),
    }
}

fn lost(at: &str, why: Loss) -> Delivery {
    Delivery::Lost {
        at: at.to_owned(),
        why,
    }
}

#[test]
fn direct_routing_passes_the_director_once_and_changes_only_the_mac() {
    let lan = by_hand(Scheduler::Rr);
    let trace = ask(&lan);
    assert_eq!(trace.delivery, answered_by("r1"), "{trace}");
    let way: Vec<_> = trace
        .hops
        .iter()
        .map(|hop| {
            (
                hop.from.as_str(),
                hop.to.as_str(),
                hop.source,
                hop.destination,
            )
        })
        .collect();
    let (client, vip) = (ip("10.0.0.1"), ip(VIP));
    assert_eq!(
        way,
        [
            ("c", "d", client, vip),
            ("d", "r1", client, vip),
            ("r1", "c", vip, client)
        ]
    );
    assert_eq!(trace.hops[1].from_mac, trace.hops[0].to_mac);
    assert_eq!(ask(&lan).delivery, answered_by("r2"));
    assert_eq!(ask(&lan).delivery, answered_by("r1"));
    assert_eq!(lan.claimants(vip), ["d".to_owned()].into());
}

#[test]
fn an_unquiet_real_server_is_seen_answering() {
    let lan = by_hand(Scheduler::Rr);
    lan.on("r2", |m| m.set_arp(&dev("eth0"), Arp::Ignore, 0));
    let trace = ask(&lan);
    let answers: Vec<_> = trace.arp_requests[0]
        .answers
        .iter()
        .map(|(machine, _)| machine.as_str())
        .collect();
    assert_eq!(answers, ["d", "r2"], "{trace}");
    assert!(lan.claimants(ip(VIP)).contains("r2"));
}

#[test]
fn a_real_server_without_the_vip_is_a_black_hole() {
    let lan = by_hand(Scheduler::Rr);
    let vip = net(&format!("{VIP}/32"));
    lan.on("r1", |m| m.del_address(&Dev::lo(), vip));
    let trace = ask(&lan);
    assert_eq!(
        trace.delivery,
        lost("r1", Loss::NotLocal(ip(VIP))),
        "{trace}"
    );
    assert_eq!(ask(&lan).delivery, answered_by("r2"));
}

#[test]
fn a_real_server_that_is_a_director_too_schedules_again() {
    let lan = by_hand(Scheduler::Rr);
    lan.on("r1", |machine| {
        machine.add_service(web(), &service(Scheduler::Rr)).unwrap();
        machine
            .add_destination(web(), ip("10.0.0.12"), Destination::direct(1))
            .unwrap();
    });
    let trace = ask(&lan);
    assert_eq!(trace.delivery, answered_by("r2"), "{trace}");
    assert_eq!(trace.hops.len(), 4, "{trace}");
    lan.on("r1", |machine| {
        machine.del_destination(web(), ip("10.0.0.12")).unwrap();
        machine
            .add_destination(web(), ip("10.0.0.10"), Destination::direct(1))
            .unwrap();
    });
    let trace = std::iter::repeat_with(|| ask(&lan))
        .take(2)
        .find(|trace| trace.hops[1].to == "r1")
        .unwrap();
    assert_eq!(
        trace.delivery,
        lost(&trace.hops.last().unwrap().to, Loss::Loop),
        "two directors bounce a packet for ever"
    );
}

#[test]
fn the_director_itself_may_be_a_real_server() {
    let lan = by_hand(Scheduler::Rr);
    lan.on("d", |machine| {
        machine.del_destination(web(), ip("10.0.0.12")).unwrap();
        machine
            .edit_destination(web(), ip("10.0.0.11"), Destination::direct(0))
            .unwrap();
        machine
            .add_destination(web(), ip("10.0.0.10"), Destination::direct(1))
            .unwrap();
    });
    assert_eq!(ask(&lan).delivery, Delivery::Refused { by: "d".to_owned() });
    let service = (80, Protocol::Tcp);
    lan.on("d", |machine| machine.listening.insert(service));
    assert_eq!(ask(&lan).delivery, answered_by("d"));
}

#[test]
fn losses_say_where_and_why() {
    let lan = by_hand(Scheduler::Rr);
    let first = ask(&lan);
    lan.on("d", |machine| {
        for real in ["10.0.0.11", "10.0.0.12"] {
            machine
                .edit_destination(web(), ip(real), Destination::direct(0))
                .unwrap();
        }
    });
    assert_eq!(ask(&lan).delivery, lost("d", Loss::NoDestination));
    let more = lan.send_more("c", first.flow);
    assert_eq!(
        more.delivery,
        answered_by("r1"),
        "weight 0 keeps what there is"
    );
    lan.on("d", |m| m.del_destination(web(), ip("10.0.0.11")));
    let more = lan.send_more("c", first.flow);
    assert_eq!(more.delivery, lost("d", Loss::DestinationGone));

    let lan = by_hand(Scheduler::Rr);
    lan.power_off("r1");
    assert_eq!(
        ask(&lan).delivery,
        lost("d", Loss::NoNeighbour(ip("10.0.0.11")))
    );
    let known = ask(&lan);
    assert_eq!(known.delivery, answered_by("r2"));
    lan.power_off("r2");
    ask(&lan);
    assert_eq!(
        ask(&lan).delivery,
        lost("d", Loss::NoSuchMac(known.hops[1].to_mac)),
        "a stale neighbour entry"
    );
    lan.power_off("d");
    lan.forget_neighbours("c");
    assert_eq!(ask(&lan).delivery, lost("c", Loss::NoNeighbour(ip(VIP))));
}

#[test]
fn a_segment_of_the_next_segment_needs_a_router() {
    let lan = by_hand(Scheduler::Rr);
    let far = Machine::new().nic(&dev("eth0"), "far", [net("10.9.0.1/24")]);
    lan.add("far", far);
    let send = || lan.send("far", ip(VIP), 80, Protocol::Tcp);
    assert_eq!(send().delivery, lost("far", Loss::NoRoute(ip(VIP))));
    let router = host(254)
        .nic(&dev("eth1"), "far", [net("10.9.0.254/24")])
        .forwarding();
    lan.add("router", router);
    let route = |name: &str, to: &str, via: &str| {
        let via = Some(ip(via));
        lan.on(name, |m| m.add_route(net(to), via, &dev("eth0"), false));
    };
    route("far", "0.0.0.0/0", "10.9.0.254");
    route("r1", "0.0.0.0/0", "10.0.0.254");
    let trace = send();
    assert_eq!(trace.delivery, answered_by("r1"), "{trace}");
    let way: Vec<_> = trace.hops.iter().map(|hop| hop.to.as_str()).collect();
    assert_eq!(way, ["router", "d", "r1", "router", "far"]);
    assert_eq!(send().delivery, lost("r2", Loss::NoRoute(ip("10.9.0.1"))));
}

#[test]
fn a_director_is_no_client_of_its_own_vip() {
    let lan = by_hand(Scheduler::Rr);
    let send = || lan.send("d", ip(VIP), 80, Protocol::Tcp);
    // The ARP request's sender address is the VIP, which the real server has too: it drops the request as martian.
    assert_eq!(
        send().delivery,
        lost("d", Loss::NoNeighbour(ip("10.0.0.11")))
    );
    lan.on("d", quiet);
    lan.send("c", ip(VIP), 80, Protocol::Tcp);
    let trace = send();
    let at = &trace.hops[0].to;
    assert_eq!(trace.delivery, lost(at, Loss::Martian(ip(VIP))), "{trace}");
}

#[test]
fn without_a_syn_nothing_is_scheduled_unless_sloppy() {
    let lan = by_hand(Scheduler::Rr);
    let first = ask(&lan);
    lan.close(first.flow);
    let more = || lan.send_more("c", first.flow).delivery;
    assert_eq!(more(), Delivery::Refused { by: "d".to_owned() });
    lan.on("d", |machine| machine.set_sloppy_tcp(true));
    assert_eq!(more(), answered_by("r2"));
}
