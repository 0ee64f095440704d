use crate::{
    kernel::{
        KernelError, OpError,
        meaning::{self, meaning, no_device, no_ipvs},
    },
    model::{AddressKey, Destination, Dev, LinkKind},
    plan::{ArpChange, Op, Subject},
};

use super::{
    errno::Errno,
    machine::{Machine, host},
    world::World,
};

/// Applies one op on `name`'s kernel, unless a fault is due.
pub(super) fn apply(world: &mut World, name: &str, op: &Op) -> Result<(), OpError> {
    let result = match injected(world, name) {
        Some(errno) => Err(refused(op, errno)),
        None => attempt(world, name, op),
    };
    if result.is_ok() {
        *world.applied.entry(name.to_owned()).or_default() += 1;
    }
    result
}

/// Counts down this machine's faults; returns the one that is due.
fn injected(world: &mut World, name: &str) -> Option<Errno> {
    let mut due = None;
    world.faults.retain_mut(|fault| {
        if fault.machine != name {
            return true;
        }
        if fault.after == 0 && due.is_none() {
            due = Some(fault.errno);
            return false;
        }
        fault.after = fault.after.saturating_sub(1);
        true
    });
    due
}

fn attempt(world: &mut World, name: &str, op: &Op) -> Result<(), OpError> {
    let machine = world
        .machines
        .get_mut(name)
        .ok_or_else(|| gone(&op.to_string()))?;
    if let Some(dev) = device_of(op)
        && !machine.devices.contains_key(dev)
    {
        return Err(no_device(op, dev));
    }
    let has_ipvs = machine.ipvs.is_some();
    if matches!(op.subject(), Subject::Service(_)) && !has_ipvs {
        return Err(no_ipvs(op));
    }
    if let Op::DelDummy(dev) = op
        && machine
            .devices
            .get(dev)
            .is_some_and(|device| device.kind != LinkKind::Dummy)
    {
        let cause = format!("{dev} is no dummy device; it is left alone");
        return Err(failure(&op.to_string(), cause).into());
    }
    change(machine, op).map_err(|errno| refused(op, errno))
}

/// The device that the op needs; ops on IPVS need none.
fn device_of(op: &Op) -> Option<&Dev> {
    match op {
        Op::DelDummy(dev) => Some(dev),
        Op::Quiet(set) | Op::Restore(set) => Some(&set.dev),
        Op::AddAddress(key, _) | Op::DelAddress(key, _) => Some(&key.dev),
        Op::AddRoute(key) | Op::DelRoute(key) => Some(&key.dev),
        Op::StartSync(_, daemon) => Some(&daemon.dev),
        Op::AddDummy(_)
        | Op::SetIpvs(_)
        | Op::RestoreIpvs(_)
        | Op::StopSync(_)
        | Op::AddService(..)
        | Op::EditService(..)
        | Op::DelService(_)
        | Op::AddDestination(..)
        | Op::EditDestination(..)
        | Op::QuiesceDestination(..)
        | Op::DelDestination(..)
        | Op::DelForeignDestination(..) => None,
    }
}

fn change(machine: &mut Machine, op: &Op) -> Result<(), Errno> {
    match op {
        Op::AddDummy(dev) => machine.add_dummy(dev),
        Op::DelDummy(dev) => machine.del_link(dev),
        Op::Quiet(ArpChange { dev, which, to, .. })
        | Op::Restore(ArpChange { dev, which, to, .. }) => machine.set_arp(dev, *which, *to),
        Op::SetIpvs(set) | Op::RestoreIpvs(set) => machine.set_ipvs(set.setting, set.to),
        Op::StartSync(half, daemon) => machine.start_sync(*half, daemon),
        Op::StopSync(half) => machine.stop_sync(*half),
        Op::AddAddress(AddressKey { dev, ip }, _) => {
            machine.add_address(dev, host(*ip), Machine::OURS)
        }
        Op::DelAddress(AddressKey { dev, ip }, _) => machine.del_address(dev, host(*ip)),
        Op::AddRoute(AddressKey { dev, ip }) => machine.add_route(host(*ip), None, dev, true),
        Op::DelRoute(AddressKey { dev, ip }) => machine.del_route(host(*ip), dev, true),
        Op::AddService(key, service) => machine.add_service(*key, service),
        Op::EditService(key, service) => machine.edit_service(*key, service),
        Op::DelService(key) => machine.del_service(*key),
        Op::AddDestination(key, ip, destination) => {
            machine.add_destination(*key, *ip, *destination)
        }
        Op::EditDestination(key, ip, destination) => {
            machine.edit_destination(*key, *ip, *destination)
        }
        Op::QuiesceDestination(key, ip) => {
            machine.edit_destination(*key, *ip, Destination::direct(0))
        }
        Op::DelDestination(key, ip) => machine.del_destination(*key, *ip),
        Op::DelForeignDestination(key, server) => machine.del_foreign_destination(*key, *server),
    }
}

/// The MACs of others that answer a probe.
pub(super) fn probe(
    world: &mut World,
    name: &str,
    key: &AddressKey,
) -> Result<std::collections::BTreeSet<crate::model::Mac>, KernelError> {
    let doing = format!("probe for {} on {}", key.ip, key.dev);
    usable(world, name, &key.dev, &doing)?;
    let own = world
        .machines
        .get(name)
        .map(Machine::macs)
        .unwrap_or_default();
    let answers = world.ask(name, &key.dev, None, key.ip);
    Ok(answers
        .into_iter()
        .map(|(_, mac)| mac)
        .filter(|mac| !own.contains(mac))
        .collect())
}

/// ARP needs an Ethernet device that is up.
fn usable(world: &World, name: &str, dev: &Dev, doing: &str) -> Result<(), KernelError> {
    let machine = world.machines.get(name).ok_or_else(|| gone(doing))?;
    let Some(device) = machine.devices.get(dev) else {
        return Err(failure(doing, format!("there is no device {dev}")));
    };
    match device.kind {
        LinkKind::Loopback | LinkKind::Dummy => {
            Err(failure(doing, format!("{dev} does not speak ARP")))
        }
        LinkKind::Other if !device.up => Err(failure(
            doing,
            format!("{dev} is down: ip link set {dev} up"),
        )),
        LinkKind::Other => Ok(()),
    }
}

pub(super) fn failure(doing: &str, cause: impl Into<String>) -> KernelError {
    KernelError {
        doing: doing.to_owned(),
        cause: cause.into(),
    }
}

/// The error of a call on a machine without power, or by a killed agent.
pub(super) fn gone(doing: &str) -> KernelError {
    failure(doing, "there is nobody to do it: killed, or without power")
}

pub(super) fn refused(op: &Op, errno: Errno) -> OpError {
    let number = errno.number();
    let what = meaning(op, number).unwrap_or_else(|| errno.to_string());
    meaning::refused(op, number, what)
}
