//! Ops become netlink messages, sent in batches; settings of IPVS are written to files.

use std::{io::Write as _, net::SocketAddr, num::NonZeroU32};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_generic::GenlMessage;

use crate::{
    kernel::{KernelError, OpError},
    model::{Destination, Dev, LinkKind},
    plan::{ArpChange, IpvsChange, Op},
};

use super::{
    Linux, explain,
    ipvs::{IpvsMessage, request},
    netlink::{ChangeRequest, NetlinkError},
    raw::Request,
    rtnl::{address, link, route},
};

/// An op that is ready to be sent, or settled already.
enum Prepared {
    Rtnl(ChangeRequest<Request>),
    Ipvs(IpvsMessage),
    Done,
    Failed(OpError),
}

/// Applies `ops`; one result per op, in order. Within one kind of message the order of the ops is kept.
pub fn apply(linux: &mut Linux, ops: &[Op]) -> Vec<Result<(), OpError>> {
    let mut results: Vec<Option<Result<(), OpError>>> = ops.iter().map(|_| None).collect();
    let (mut rtnl, mut ipvs) = (Vec::new(), Vec::new());
    for (index, op) in ops.iter().enumerate() {
        match prepare(linux, op) {
            Prepared::Rtnl(change) => rtnl.push((index, change)),
            Prepared::Ipvs(message) => ipvs.push((index, message)),
            Prepared::Done => results[index] = Some(Ok(())),
            Prepared::Failed(error) => results[index] = Some(Err(error)),
        }
    }
    let mut settle = |index: usize, result| results[index] = Some(result);

    let (indices, changes): (Vec<_>, Vec<_>) = rtnl.into_iter().unzip();
    for (index, result) in indices.into_iter().zip(linux.change_rtnl(&changes)) {
        settle(
            index,
            result.map_err(|error| explain::op_error(&ops[index], &error)),
        );
    }
    let (indices, messages): (Vec<_>, Vec<_>) = ipvs.into_iter().unzip();
    for (index, result) in indices.into_iter().zip(change_ipvs(linux, messages)) {
        settle(
            index,
            result.map_err(|error| match error {
                Failure::Netlink(error) => explain::op_error(&ops[index], &error),
                Failure::NoIpvs => explain::no_ipvs(&ops[index]),
                Failure::Unasked(error) => error.into(),
            }),
        );
    }

    let unsent = |op: &Op| Err(explain::unsent(op, "it was not sent"));
    ops.iter()
        .zip(results)
        .map(|(op, result)| result.unwrap_or_else(|| unsent(op)))
        .collect()
}

fn prepare(linux: &mut Linux, op: &Op) -> Prepared {
    let create = NLM_F_CREATE | NLM_F_EXCL;
    match op {
        Op::AddDummy(dev) => Prepared::Rtnl(ChangeRequest {
            flags: create,
            message: link::add_dummy(dev),
        }),
        Op::DelDummy(dev) => match linux.fresh_link(dev) {
            // Another device may have got the name since the ledger was written.
            Ok(Some((_, kind))) if kind != LinkKind::Dummy => Prepared::Failed(explain::unsent(
                op,
                format!("{dev} is no dummy device; it is left alone"),
            )),
            Ok(Some((index, _))) => Prepared::Rtnl(ChangeRequest {
                flags: 0,
                message: link::delete(index),
            }),
            Ok(None) => Prepared::Failed(explain::no_device(op, dev)),
            Err(error) => Prepared::Failed(error.into()),
        },
        Op::Quiet(ArpChange { dev, which, to, .. })
        | Op::Restore(ArpChange { dev, which, to, .. }) => {
            on_device(linux, op, dev, 0, |index| link::set_arp(index, *which, *to))
        }
        Op::SetIpvs(set) | Op::RestoreIpvs(set) => {
            match request::set_timeout(set.setting, set.to) {
                Some(message) => Prepared::Ipvs(message),
                None => match set_ipvs(linux, *set) {
                    Ok(()) => Prepared::Done,
                    Err(error) => Prepared::Failed(untuned(linux, op, &error)),
                },
            }
        }
        Op::StartSync(half, daemon) => Prepared::Ipvs(request::start_sync(*half, daemon)),
        Op::StopSync(half) => Prepared::Ipvs(request::stop_sync(*half)),
        Op::AddAddress(key, _) => on_device(linux, op, &key.dev, create, |index| {
            address::add(index, key.ip, None)
        }),
        Op::DelAddress(key, _) => on_device(linux, op, &key.dev, 0, |index| {
            address::delete(index, key.ip)
        }),
        Op::AddRoute(key) => on_device(linux, op, &key.dev, create, |index| {
            route::add(index, key.ip)
        }),
        Op::DelRoute(key) => {
            on_device(linux, op, &key.dev, 0, |index| route::delete(index, key.ip))
        }
        Op::AddService(key, service) => Prepared::Ipvs(request::add_service(key, service)),
        Op::EditService(key, service) => Prepared::Ipvs(request::edit_service(key, service)),
        Op::DelService(key) => Prepared::Ipvs(request::delete_service(key)),
        Op::AddDestination(key, ip, destination) => {
            Prepared::Ipvs(request::add_destination(key, *ip, *destination))
        }
        Op::EditDestination(key, ip, destination) => {
            Prepared::Ipvs(request::edit_destination(key, *ip, *destination))
        }
        Op::QuiesceDestination(key, ip) => {
            Prepared::Ipvs(request::edit_destination(key, *ip, Destination::direct(0)))
        }
        Op::DelDestination(key, ip) => {
            let server = SocketAddr::new(*ip, key.port);
            Prepared::Ipvs(request::delete_destination(key, server))
        }
        Op::DelForeignDestination(key, server) => {
            Prepared::Ipvs(request::delete_destination(key, *server))
        }
    }
}

fn set_ipvs(linux: &Linux, set: IpvsChange) -> std::io::Result<()> {
    let path = linux.settings.join(set.setting.name());
    // The file is never created: without it, the kernel does not know the setting.
    let mut file = std::fs::OpenOptions::new().write(true).open(path)?;
    writeln!(file, "{}", set.to)
}

fn untuned(linux: &Linux, op: &Op, error: &std::io::Error) -> OpError {
    let directory = linux.settings.display();
    let errno = error.raw_os_error().unwrap_or(0);
    let fix = if errno == libc::EINVAL {
        "the kernel refuses the value: correct it in --ipvs-setting"
    } else {
        "give the agent a writable net/ipv4/vs of the node with --ipvs-settings-dir, or set it on the node"
    };
    explain::refused(op, errno, format_args!("{directory}: {error}; {fix}"))
}

fn on_device(
    linux: &mut Linux,
    op: &Op,
    dev: &Dev,
    flags: u16,
    message: impl FnOnce(NonZeroU32) -> Request,
) -> Prepared {
    match linux.index_of(dev) {
        Ok(Some(index)) => Prepared::Rtnl(ChangeRequest {
            flags,
            message: message(index),
        }),
        Ok(None) => Prepared::Failed(explain::no_device(op, dev)),
        Err(error) => Prepared::Failed(error.into()),
    }
}

enum Failure {
    Netlink(NetlinkError),
    NoIpvs,
    Unasked(KernelError),
}

fn change_ipvs(linux: &mut Linux, messages: Vec<IpvsMessage>) -> Vec<Result<(), Failure>> {
    if messages.is_empty() {
        return Vec::new();
    }
    let family = match linux.ipvs_family() {
        Ok(Some(family)) => family,
        Ok(None) => return messages.iter().map(|_| Err(Failure::NoIpvs)).collect(),
        Err(error) => {
            return messages
                .iter()
                .map(|_| Err(Failure::Unasked(error.clone())))
                .collect();
        }
    };
    let changes: Vec<_> = messages
        .into_iter()
        .map(|message| {
            let mut message = GenlMessage::from_payload(message);
            message.set_resolved_family_id(family);
            ChangeRequest { flags: 0, message }
        })
        .collect();
    let results = linux.change_ipvs(&changes);
    results
        .into_iter()
        .map(|result| result.map_err(Failure::Netlink))
        .collect()
}
