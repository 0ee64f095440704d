//! A VirtualService's life, without faults.

use std::time::Duration;

use directway::{
    kernel::fake::{Delivery, Machine, Trace},
    model::*,
};

use crate::{
    cluster::{Cluster, LIFETIME, Talk, answers},
    site::{CLIENT, DIRECTORS, DNS, VIP, address, dev, dns, ip, key, net, web},
};

fn serving(talk: Talk) -> Cluster {
    let mut cluster = Cluster::new(talk);
    cluster.apply(web());
    cluster.apply(dns());
    cluster.settle();
    cluster
}

fn thirds(count: usize) -> crate::cluster::Answers {
    answers([("r1", count), ("r2", count), ("r3", count)])
}

#[test]
fn requests_are_spread_and_the_replies_bypass_the_director() {
    for talk in [Talk::Reports, Talk::Wire] {
        let cluster = serving(talk);
        assert_eq!(cluster.answers(VIP, 80, Protocol::Tcp, 12), thirds(4));
        assert_eq!(cluster.answers(DNS, 53, Protocol::Udp, 12), thirds(4));
        let trace = cluster.lan.send(CLIENT, ip(VIP), 80, Protocol::Tcp);
        let way: Vec<_> = trace.hops.iter().map(|hop| hop.from.as_str()).collect();
        let holder = cluster.holders(VIP)[0];
        assert_eq!(way[..2], [CLIENT, holder], "{trace}");
        assert!(way.len() == 3 && !DIRECTORS.contains(&way[2]), "{trace}");
        cluster.safety.check(&cluster.story);
    }
}

#[test]
fn deletion_leaves_every_node_as_it_was() {
    for talk in [Talk::Reports, Talk::Wire] {
        let mut cluster = Cluster::new(talk);
        let before = cluster.state();
        cluster.apply(web());
        cluster.apply(dns());
        cluster.settle();
        assert_ne!(cluster.state(), before);
        cluster.delete(&web());
        cluster.settle();
        assert_eq!(cluster.answers(DNS, 53, Protocol::Udp, 3), thirds(1));
        cluster.delete(&dns());
        cluster.settle();
        assert_eq!(cluster.state(), before, "{talk:?}:\n{}", cluster.story);
        cluster.safety.check(&cluster.story);
    }
}

#[test]
fn unlabelling_every_node_leaves_them_as_they_were() {
    let mut cluster = Cluster::new(Talk::Reports);
    let before = cluster.state();
    cluster.apply(web());
    cluster.apply(dns());
    cluster.settle();
    for name in crate::site::NODES {
        cluster.node(name).labels.clear();
    }
    cluster.settle();
    assert_eq!(cluster.state(), before, "{}", cluster.story);
    cluster.safety.check(&cluster.story);
}

#[test]
fn undoing_everything_leaves_every_node_as_it_was_and_can_be_taken_back() {
    let mut cluster = Cluster::new(Talk::Reports);
    let before = cluster.state();
    cluster.apply(web());
    cluster.apply(dns());
    cluster.settle();
    let serving = cluster.state();
    cluster.snapshot.undo = Some("now".to_owned());
    cluster.settle();
    assert_eq!(cluster.state(), before, "{}", cluster.story);
    // An agent that is started meanwhile does nothing either.
    cluster.restart("r1");
    assert_eq!(cluster.settle(), 0, "{}", cluster.story);
    cluster.snapshot.undo = None;
    cluster.settle();
    assert_eq!(cluster.state(), serving, "{}", cluster.story);
    assert_eq!(cluster.answers(VIP, 80, Protocol::Tcp, 12), thirds(4));
    cluster.safety.check(&cluster.story);
}

#[test]
fn a_director_whose_agent_is_dead_keeps_nobody_else_from_undoing() {
    let mut cluster = Cluster::new(Talk::Reports);
    let before = cluster.state();
    cluster.apply(web());
    cluster.settle();
    // The dead agent's kernel goes on sending packets to real servers that undo: no other agent can prevent that.
    cluster.safety.expect_power_loss();
    cluster.snapshot.undo = Some("now".to_owned());
    let real_servers = ["r1", "r2", "r3"];
    let carry =
        |cluster: &Cluster| real_servers.map(|name| cluster.observe(name).net.carries(ip(VIP)));
    for second in 0..30 {
        for name in real_servers {
            cluster.pass(name);
        }
        if second == 15 {
            assert_eq!(carry(&cluster), [true; 3], "{}", cluster.story);
        }
        cluster.wait(Duration::from_secs(1));
    }
    assert_eq!(carry(&cluster), [false; 3], "{}", cluster.story);
    cluster.settle();
    assert_eq!(cluster.state(), before, "{}", cluster.story);
    cluster.safety.check(&cluster.story);
}

#[test]
fn no_request_is_lost_while_real_servers_change() {
    let mut cluster = serving(Talk::Reports);
    cluster.safety.serving(true);
    cluster.node("r2").weight = Some("3".to_owned());
    cluster.apply(VirtualService {
        scheduler: Scheduler::Wrr,
        generation: 2,
        ..web()
    });
    cluster.settle();
    let spread = cluster.answers(VIP, 80, Protocol::Tcp, 50);
    assert_eq!(spread, answers([("r1", 10), ("r2", 30), ("r3", 10)]));
    cluster.node("r3").labels.clear();
    cluster.settle();
    let spread = cluster.answers(VIP, 80, Protocol::Tcp, 40);
    assert_eq!(spread, answers([("r1", 10), ("r2", 30)]));
    assert!(!cluster.observe("r3").net.carries(ip(VIP)));
    cluster.node("r3").labels = crate::site::nodes()[&"r3".into()].labels.clone();
    cluster.settle();
    assert_eq!(cluster.answers(VIP, 80, Protocol::Tcp, 50).len(), 3);
    cluster.safety.check(&cluster.story);
}

#[test]
fn a_long_connection_keeps_its_real_server_until_it_is_drained() {
    let mut cluster = serving(Talk::Reports);
    let long = cluster.lan.send(CLIENT, ip(VIP), 80, Protocol::Tcp);
    let name = ["r1", "r2", "r3"]
        .into_iter()
        .find(|name| long.hops[1].to == *name)
        .unwrap();
    cluster.node(name).labels.clear();
    for _ in 0..15 {
        cluster.round();
        let more = cluster.lan.send_more(CLIENT, long.flow);
        assert_eq!(more.hops[1].to, name, "{more}\n{}", cluster.story);
        assert_eq!(more.delivery, long.delivery, "{more}");
        let others = cluster.answers(VIP, 80, Protocol::Tcp, 4);
        assert!(!others.contains_key(name), "{others:?}");
    }
    assert!(cluster.observe(name).net.carries(ip(VIP)));
    cluster.lan.close(long.flow);
    cluster.settle();
    assert!(!cluster.observe(name).net.carries(ip(VIP)));
    cluster.safety.check(&cluster.story);
}

#[test]
fn a_node_that_is_done_does_nothing() {
    for talk in [Talk::Reports, Talk::Wire] {
        let mut cluster = serving(talk);
        for _ in 0..12 {
            assert_eq!(cluster.settle(), 0, "{}", cluster.story);
            cluster.wait(Duration::from_secs(7));
        }
    }
}

#[test]
fn a_stranger_with_the_vip_is_not_robbed_of_it() {
    let mut cluster = Cluster::new(Talk::Reports);
    let stranger = directway::kernel::fake::Machine::new().nic(
        &dev("eth0"),
        "lan",
        [net("10.77.0.77/24"), net(&format!("{VIP}/32"))],
    );
    cluster.lan.add("stranger", stranger);
    cluster.apply(web());
    for _ in 0..30 {
        cluster.round();
    }
    assert!(cluster.holders(VIP).is_empty(), "{}", cluster.story);
    cluster.lan.power_off("stranger");
    cluster.lan.clear_log();
    for _ in 0..10 {
        cluster.wait(Duration::from_secs(1));
        cluster.settle();
    }
    assert_eq!(cluster.holders(VIP).len(), 1, "{}", cluster.story);
}

#[test]
fn an_agent_that_stood_still_until_its_vip_was_withdrawn_probes_before_it_has_it_again() {
    let mut cluster = serving(Talk::Wire);
    let sleeper = cluster.holders(VIP)[0];
    cluster.wait_without(sleeper, LIFETIME * 2);
    let holders = cluster.holders(VIP);
    assert!(
        holders.len() == 1 && holders[0] != sleeper,
        "{holders:?}: {}",
        cluster.story
    );
    // It wakes: timers are due, the kernel's notice waits.
    cluster.wait(Duration::ZERO);
    assert_eq!(cluster.holders(VIP), holders, "{}", cluster.story);
    cluster.settle();
    assert_eq!(cluster.holders(VIP).len(), 1, "{}", cluster.story);
    cluster.safety.check(&cluster.story);
}

#[test]
fn a_real_server_that_falls_silent_loses_its_weight_and_gets_it_back() {
    let mut cluster = serving(Talk::Reports);
    let weight = |cluster: &Cluster| {
        let services = cluster.observe(cluster.holders(VIP)[0]).net.services;
        services[&key(VIP, 80, Protocol::Tcp)].destinations[&address("r1")].weight
    };
    assert_eq!(weight(&cluster), 1);
    cluster.lan.plug("r1", &dev("eth0"), false);
    cluster.wait(Duration::from_secs(30));
    cluster.settle();
    assert_eq!(weight(&cluster), 0, "{}", cluster.story);
    let spread = cluster.answers(VIP, 80, Protocol::Tcp, 10);
    assert_eq!(spread, answers([("r2", 5), ("r3", 5)]));
    cluster.lan.plug("r1", &dev("eth0"), true);
    cluster.wait(Duration::from_secs(10));
    cluster.settle();
    assert_eq!(weight(&cluster), 1, "{}", cluster.story);
}

/// IPVS sends a client's datagrams to one real server for as long as they come from one port.
#[test]
fn a_client_that_keeps_its_port_is_drained_and_then_sent_elsewhere() {
    let mut cluster = serving(Talk::Reports);
    for director in DIRECTORS {
        let expire = |machine: &mut Machine| machine.set_ipvs(IpvsSetting::ExpireNodestConn, 1);
        cluster.lan.on(director, expire).unwrap().unwrap();
    }
    let answered_by = |trace: Trace| match trace.delivery {
        Delivery::Answered { by } => by,
        other => panic!("{other:?}"),
    };
    let first = cluster.lan.send(CLIENT, ip(DNS), 53, Protocol::Udp);
    let flow = first.flow;
    let first = answered_by(first);
    cluster.node(&first).labels.clear();
    for _ in 0..4 {
        cluster.round();
        assert_eq!(answered_by(cluster.lan.send_more(CLIENT, flow)), first);
    }
    // As long as a service drains, and then until the destination is gone.
    for _ in 0..20 {
        cluster.round();
    }
    cluster.settle();
    assert_ne!(answered_by(cluster.lan.send_more(CLIENT, flow)), first);
    cluster.safety.check(&cluster.story);
}
