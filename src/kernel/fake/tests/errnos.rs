//! The simulated kernel's refusals. They are those of real kernels: `tests/contract` checks both alike.

use libc::{EADDRNOTAVAIL, EEXIST, EINVAL, ENETDOWN, ENODEV, ENOENT, EOPNOTSUPP, ERANGE, ESRCH};

use super::{super::errno::Errno, *};
use crate::{
    kernel::{Kernel, OpError, fake::FakeKernel},
    model::{AddressKey, Ipvs, Role},
    plan::{ArpChange, Op},
};

fn errno(kernel: &mut FakeKernel, op: Op) -> i32 {
    match kernel.apply(std::slice::from_ref(&op)).remove(0) {
        Ok(()) => 0,
        Err(OpError::Refused { errno, .. }) => errno,
        Err(other) => panic!("{op}: {other}"),
    }
}

fn key(on: &str, address: &str) -> AddressKey {
    AddressKey::new(dev(on), ip(address))
}

#[test]
fn services_and_destinations_are_refused_as_ip_vs_ctl_does() {
    let mut kernel = FakeKernel::alone(host(10));
    let add = |scheduler| Op::AddService(web(), service(scheduler).into());
    let edit = |scheduler| Op::EditService(web(), service(scheduler).into());
    let twos = || Scheduler::Other("twos".to_owned());
    let real = ip("10.0.0.11");
    let destination =
        |address: &str, weight| Op::AddDestination(web(), ip(address), Destination::direct(weight));
    let steps = [
        (edit(Scheduler::Rr), ESRCH),
        (Op::DelService(web()), ESRCH),
        (destination("10.0.0.11", 1), ESRCH),
        (Op::DelDestination(web(), real), ESRCH),
        (Op::QuiesceDestination(web(), real), ESRCH),
        (add(twos()), ENOENT),
        (add(Scheduler::Rr), 0),
        (add(Scheduler::Rr), EEXIST),
        (add(twos()), EEXIST),
        (edit(twos()), ENOENT),
        (edit(Scheduler::Wrr), 0),
        (Op::DelDestination(web(), real), ENOENT),
        (Op::QuiesceDestination(web(), real), ENOENT),
        (destination("224.0.0.1", 1), EINVAL),
        (destination("0.0.0.0", 1), EINVAL),
        (destination("255.255.255.255", 1), EINVAL),
        (destination("10.0.0.255", 1), EINVAL),
        (destination("203.0.113.1", 1), 0),
        (destination("10.0.0.11", 1 << 31), ERANGE),
        (destination("10.0.0.11", (1 << 31) - 1), 0),
        (destination("10.0.0.11", 1), EEXIST),
        (destination("10.0.0.10", 1), 0),
        (Op::QuiesceDestination(web(), real), 0),
        (Op::DelService(web()), 0),
        (Op::DelDestination(web(), real), ESRCH),
        (add(Scheduler::Rr), 0),
        (Op::DelDestination(web(), real), ENOENT),
    ];
    for (step, (op, expected)) in steps.into_iter().enumerate() {
        let text = format!("step {step}: {op}");
        assert_eq!(errno(&mut kernel, op), expected, "{text}");
    }
}

#[test]
fn with_lo_down_no_destination_is_taken() {
    let mut kernel = FakeKernel::alone(host(10));
    kernel.lan().on("alone", |m| m.set_up(&Dev::lo(), false));
    assert_eq!(
        errno(
            &mut kernel,
            Op::AddService(web(), service(Scheduler::Rr).into())
        ),
        0
    );
    let add = Op::AddDestination(web(), ip("10.0.0.11"), Destination::direct(1));
    assert_eq!(errno(&mut kernel, add), EINVAL);
}

#[test]
fn without_ipvs_everything_else_works_and_the_lack_is_seen() {
    let mut kernel = FakeKernel::alone(host(10).without_ipvs());
    assert_eq!(
        errno(
            &mut kernel,
            Op::AddService(web(), service(Scheduler::Rr).into())
        ),
        ENOENT
    );
    let bind = Op::AddAddress(key("lo", VIP), Role::Quiet);
    assert_eq!(errno(&mut kernel, bind), 0);
    let observed = kernel.observe().unwrap();
    assert!(matches!(observed.ipvs, Ipvs::Missing(_)));
    assert!(observed.net.carries(ip(VIP)));
}

/// A service that has a scheduler keeps its module in the kernel, so it can be edited.
#[test]
fn a_scheduler_without_a_module_is_refused() {
    let mut machine = host(10);
    machine.set_module(&Scheduler::Sh, false);
    let sh = || service(Scheduler::Sh);
    let rr = || service(Scheduler::Rr);
    assert_eq!(machine.add_service(web(), &sh()), Err(Errno::NoEntry));
    assert_eq!(machine.add_service(web(), &rr()), Ok(()));
    assert_eq!(machine.edit_service(web(), &sh()), Err(Errno::NoEntry));
    machine.set_module(&Scheduler::Sh, true);
    assert_eq!(machine.edit_service(web(), &sh()), Ok(()));
    machine.set_module(&Scheduler::Sh, false);
    assert_eq!(machine.edit_service(web(), &sh()), Ok(()));
}

#[test]
fn addresses_routes_and_devices_are_refused_as_rtnetlink_does() {
    let mut kernel = FakeKernel::alone(host(10));
    let address = |on: &str| Op::AddAddress(key(on, VIP), Role::Quiet);
    let no_address = |on: &str, address: &str| Op::DelAddress(key(on, address), Role::Quiet);
    let arp = |on: &str| {
        Op::Quiet(ArpChange {
            dev: dev(on),
            which: Arp::Ignore,
            from: 0,
            to: 1,
        })
    };
    let steps = [
        (address("nix"), ENODEV),
        (no_address("nix", VIP), ENODEV),
        (no_address("lo", VIP), EADDRNOTAVAIL),
        (address("lo"), 0),
        (address("lo"), EEXIST),
        (address("eth0"), 0),
        (no_address("eth0", "10.0.0.10"), EADDRNOTAVAIL),
        (Op::AddDummy(dev("eth0")), EEXIST),
        (Op::DelDummy(dev("nix")), ENODEV),
        (address("d0"), ENODEV),
        (Op::AddDummy(dev("d0")), 0),
        (Op::AddDummy(dev("d0")), EEXIST),
        (address("d0"), 0),
        (Op::AddRoute(key("nix", VIP)), ENODEV),
        (Op::DelRoute(key("d0", VIP)), ESRCH),
        (Op::AddRoute(key("d0", VIP)), 0),
        (Op::AddRoute(key("d0", VIP)), EEXIST),
        (Op::AddRoute(key("lo", VIP)), EEXIST),
        (Op::DelRoute(key("lo", VIP)), ESRCH),
        (Op::DelRoute(key("d0", VIP)), 0),
        (arp("nix"), ENODEV),
        (arp("eth0"), 0),
        (Op::DelDummy(dev("d0")), 0),
        (no_address("d0", VIP), ENODEV),
        (arp("d0"), ENODEV),
    ];
    for (step, (op, expected)) in steps.into_iter().enumerate() {
        let text = format!("step {step}: {op}");
        assert_eq!(errno(&mut kernel, op), expected, "{text}");
    }
    let lan = kernel.lan().clone();
    assert_eq!(
        lan.on("alone", |m| m.del_link(&Dev::lo()).unwrap_err().number()),
        Some(EOPNOTSUPP)
    );
    lan.on("alone", |m| m.set_up(&dev("eth0"), false));
    assert_eq!(errno(&mut kernel, Op::AddRoute(key("eth0", VIP))), ENETDOWN);
}

#[test]
fn a_nic_is_never_deleted_as_a_dummy() {
    let mut kernel = FakeKernel::alone(host(10));
    let result = kernel.apply(&[Op::DelDummy(dev("eth0"))]).remove(0);
    assert!(matches!(result, Err(OpError::Unsent(_))), "{result:?}");
    assert!(kernel.observe().unwrap().links.contains_key("eth0"));
}

#[test]
fn a_devices_routes_go_with_its_last_address() {
    let mut kernel = FakeKernel::alone(host(10));
    let other = "10.0.0.101";
    for op in [
        Op::AddDummy(dev("d0")),
        Op::AddAddress(key("d0", VIP), Role::Quiet),
        Op::AddAddress(key("d0", other), Role::Quiet),
        Op::AddRoute(key("d0", VIP)),
        Op::AddRoute(key("d0", other)),
        Op::DelAddress(key("d0", VIP), Role::Quiet),
    ] {
        assert_eq!(errno(&mut kernel, op), 0);
    }
    assert_eq!(kernel.observe().unwrap().our_routes.len(), 2);
    assert_eq!(
        errno(&mut kernel, Op::DelAddress(key("d0", other), Role::Quiet)),
        0
    );
    assert!(kernel.observe().unwrap().net.routes.is_empty());
}
