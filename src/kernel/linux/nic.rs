//! One NIC and its VIPs, without the rest of the node's state.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};

use crate::{
    kernel::{KernelError, OpError},
    model::{AddressKey, Dev, Link, PROTOCOL_TAG, Role, host_prefix},
    plan::Op,
    wire::Family,
};

use super::{
    Linux, explain, failure, netlink::ChangeRequest, packet::LinkSocket, rtnl::address, segment,
};

/// A NIC and the addresses on it that may be ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    /// The NIC.
    pub link: Link,
    /// Host-sized addresses with our tag, or with none as on kernels before 5.18.
    pub vips: BTreeSet<IpAddr>,
}

impl Linux {
    /// Looks at `dev`; `None` if there is no such device.
    pub fn nic(&mut self, dev: &Dev) -> Result<Option<Nic>, KernelError> {
        self.list_links()?;
        let Some(link) = self.links.get(dev).cloned() else {
            return Ok(None);
        };
        let addresses = self.dump_rtnl("list the addresses", &address::list(), address::parse)?;
        let vips = addresses
            .into_iter()
            .filter(|seen| seen.index == link.index && seen.prefix == host_prefix(seen.ip))
            .filter(|seen| matches!(seen.protocol, 0 | PROTOCOL_TAG))
            .map(|seen| seen.ip)
            .collect();
        Ok(Some(Nic { link, vips }))
    }

    /// Adds VIPs to `dev`, in their order. The kernel removes them after `lifetime`; `None` = never. One result each:
    /// EEXIST for one that is there already.
    pub fn add_held(
        &mut self,
        dev: &Dev,
        vips: &BTreeSet<IpAddr>,
        lifetime: Option<Duration>,
    ) -> Vec<Result<(), OpError>> {
        self.set_held(dev, vips, lifetime, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Lets VIPs that are on `dev` stay there for another `lifetime`; `None` = for ever. One result each.
    pub fn renew_lifetime(
        &mut self,
        dev: &Dev,
        vips: &BTreeSet<IpAddr>,
        lifetime: Option<Duration>,
    ) -> Vec<Result<(), OpError>> {
        self.set_held(dev, vips, lifetime, NLM_F_CREATE | NLM_F_REPLACE)
    }

    fn set_held(
        &mut self,
        dev: &Dev,
        vips: &BTreeSet<IpAddr>,
        lifetime: Option<Duration>,
        flags: u16,
    ) -> Vec<Result<(), OpError>> {
        let op = |vip: &IpAddr| Op::AddAddress(AddressKey::new(dev.clone(), *vip), Role::Held);
        let index = match self.index_of(dev) {
            Ok(Some(index)) => index,
            Ok(None) => {
                let gone = |vip| Err(explain::no_device(&op(vip), dev));
                return vips.iter().map(gone).collect();
            }
            Err(error) => return vips.iter().map(|_| Err(error.clone().into())).collect(),
        };
        let seconds = lifetime.map(|it| u32::try_from(it.as_secs()).unwrap_or(u32::MAX));
        let change = |vip: &IpAddr| ChangeRequest {
            flags,
            message: address::add(index, *vip, seconds),
        };
        let changes: Vec<_> = vips.iter().map(change).collect();
        let results = self.change_rtnl(&changes).into_iter();
        results
            .zip(vips)
            .map(|(result, vip)| result.map_err(|error| explain::op_error(&op(vip), &error)))
            .collect()
    }

    /// Opens a socket on `dev` for the address resolution of `family`.
    pub fn listen(&mut self, dev: &Dev, family: Family) -> Result<LinkSocket, KernelError> {
        self.list_links()?;
        let doing = format!("listen for {} on {dev}", family.resolution().name());
        let socket = segment::open(dev, self.links.get(dev), family);
        socket.map_err(|cause| failure(doing, cause))
    }
}
