//! The Linux kernel, spoken to over netlink and packet sockets.
//!
//! Needs CAP_NET_ADMIN and, for frames, CAP_NET_RAW. Nothing is written below /proc or /sys but settings of IPVS, which
//! can be set in no other way. Everything concerns the network namespace of the calling thread.

mod apply;
mod ask;
mod clock;
mod explain;
mod frame_socket;
pub mod genl;
pub mod ipvs;
pub mod netlink;
mod nic;
mod observe;
pub mod packet;
mod probe_socket;
pub mod raw;
pub mod rtnl;
mod segment;
mod segment_nic;
mod services;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use netlink_packet_core::{DecodeError, NetlinkDeserializable};
use netlink_packet_generic::GenlMessage;
use netlink_sys::protocols::{NETLINK_GENERIC, NETLINK_ROUTE};

use crate::{
    model::{AddressKey, Answer, ArpReading, Dev, Link, LinkKind, Observed, Reach, ServiceKey},
    plan::Op,
};

pub use clock::boot_time;
pub use nic::Nic;
pub use probe_socket::ProbeSocket;
pub use segment_nic::LinuxNic;

use self::{
    ipvs::IpvsMessage,
    netlink::{ChangeRequest, Channel, NetlinkError, Sent},
    raw::{Reply, Request},
    rtnl::link,
};

use super::{Kernel, KernelError, OpError};

/// The kernel of this node.
#[derive(Debug)]
pub struct Linux {
    rtnl: Channel,
    genl: Channel,
    /// The number of the IPVS family, once known.
    ipvs: Option<u16>,
    /// Interfaces as they were last listed.
    links: BTreeMap<Dev, Link>,
    /// Where settings of IPVS are written.
    settings: PathBuf,
}

/// Where the kernel has the settings of IPVS.
pub const IPVS_SETTINGS: &str = "/proc/sys/net/ipv4/vs";

impl Linux {
    /// Opens the kernel of the calling thread's network namespace.
    pub fn open() -> Result<Self, KernelError> {
        let open = |name, protocol| {
            Channel::open(protocol).map_err(|error| failure(format!("open a {name} socket"), error))
        };
        Ok(Self {
            rtnl: open("rtnetlink", NETLINK_ROUTE)?,
            genl: open("generic netlink", NETLINK_GENERIC)?,
            ipvs: None,
            links: BTreeMap::new(),
            settings: IPVS_SETTINGS.into(),
        })
    }

    /// Writes settings of IPVS here: in a pod, /proc/sys itself is read-only.
    #[must_use]
    pub fn with_settings_in(mut self, directory: &Path) -> Self {
        self.settings = directory.to_owned();
        self
    }

    /// Netlink messages sent so far, and among them those that change something.
    pub fn sent(&self) -> Sent {
        let (rtnl, genl) = (self.rtnl.sent(), self.genl.sent());
        Sent {
            queries: rtnl.queries + genl.queries,
            changes: rtnl.changes + genl.changes,
        }
    }

    /// The number of the IPVS family; `None` if the kernel has no IPVS and could not load it.
    fn ipvs_family(&mut self) -> Result<Option<u16>, KernelError> {
        if self.ipvs.is_none() {
            self.ipvs = match genl::family(&mut self.genl, ipvs::FAMILY_NAME) {
                Ok(family) => Some(family),
                Err(NetlinkError::Refused {
                    errno: libc::ENOENT,
                    ..
                }) => None,
                Err(error) => return Err(failure("look for IPVS", error)),
            };
        }
        Ok(self.ipvs)
    }

    fn dump_ipvs<A: NetlinkDeserializable>(
        &mut self,
        family: u16,
        question: IpvsMessage,
    ) -> Result<Vec<A>, NetlinkError> {
        let mut question = GenlMessage::from_payload(question);
        question.set_resolved_family_id(family);
        self.genl.dump(&question)
    }

    fn change_ipvs(
        &mut self,
        changes: &[ChangeRequest<GenlMessage<IpvsMessage>>],
    ) -> Vec<Result<(), NetlinkError>> {
        let results = self.genl.change(changes);
        if !results.is_empty() && results.iter().all(Result::is_err) {
            // The module may have been unloaded and loaded again, with another number.
            self.ipvs = None;
        }
        results
    }

    fn change_rtnl(&mut self, changes: &[ChangeRequest<Request>]) -> Vec<Result<(), NetlinkError>> {
        self.rtnl.change(changes)
    }

    /// Reads a table of rtnetlink; `parse` returns `None` for entries to leave out.
    fn dump_rtnl<T>(
        &mut self,
        doing: &str,
        question: &Request,
        parse: impl Fn(&Reply) -> Result<Option<T>, DecodeError>,
    ) -> Result<Vec<T>, KernelError> {
        let replies: Vec<Reply> = self
            .rtnl
            .dump(question)
            .map_err(|error| failure(doing, error))?;
        let parsed: Result<Vec<T>, _> = replies
            .iter()
            .filter_map(|reply| parse(reply).transpose())
            .collect();
        parsed.map_err(|error| failure(doing, error))
    }

    fn list_links(&mut self) -> Result<(), KernelError> {
        let links = self.dump_rtnl("list the interfaces", &link::list(), link::parse)?;
        self.links = links
            .into_iter()
            .map(|link| (link.dev.clone(), link))
            .collect();
        Ok(())
    }

    /// The index of a device, from the last listing if it was in it.
    fn index_of(&mut self, dev: &Dev) -> Result<Option<NonZeroU32>, KernelError> {
        if !self.links.contains_key(dev) {
            self.list_links()?;
        }
        Ok(self
            .links
            .get(dev)
            .and_then(|link| NonZeroU32::new(link.index)))
    }

    /// Index and kind of a device as of now.
    fn fresh_link(&mut self, dev: &Dev) -> Result<Option<(NonZeroU32, LinkKind)>, KernelError> {
        self.list_links()?;
        Ok(self
            .links
            .get(dev)
            .and_then(|link| Some((NonZeroU32::new(link.index)?, link.kind))))
    }
}

impl Kernel for Linux {
    fn observe(&mut self) -> Result<Observed, KernelError> {
        observe::observe(self)
    }

    fn observe_service(&mut self, key: &ServiceKey) -> Result<Observed, KernelError> {
        services::service(self, key)
    }

    fn arp_settings(&mut self, devs: &BTreeSet<Dev>) -> Result<ArpReading, KernelError> {
        observe::arp_settings(devs)
    }

    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), OpError>> {
        apply::apply(self, ops)
    }

    fn resolve(
        &mut self,
        addresses: &BTreeSet<IpAddr>,
    ) -> BTreeMap<IpAddr, Result<Reach, KernelError>> {
        self.resolve_each(addresses)
    }

    fn probe(
        &mut self,
        targets: &BTreeSet<AddressKey>,
    ) -> BTreeMap<AddressKey, Result<Answer, KernelError>> {
        self.probe_each(targets)
    }
}

fn failure(doing: impl Into<String>, cause: impl ToString) -> KernelError {
    KernelError {
        doing: doing.into(),
        cause: cause.to_string(),
    }
}
