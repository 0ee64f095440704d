//! A director's NIC on a real segment.

use std::{collections::BTreeSet, io, net::IpAddr, sync::Arc, time::Duration};

use crate::{
    kernel::{Kernel, KernelError, NicState, OpError, SegmentNic},
    model::{AddressKey, Dev, Role},
    plan::Op,
    wire::{Family, Message, Received},
};

use super::{Linux, boot_time, failure, packet::LinkSocket};

/// A NIC with a packet socket on it.
#[derive(Debug)]
pub struct LinuxNic {
    dev: Dev,
    kernel: Linux,
    socket: Arc<LinkSocket>,
}

impl LinuxNic {
    /// Opens it for VIPs of the family of `own`, its address. Its socket never blocks.
    pub fn open(dev: &Dev, own: IpAddr) -> Result<Self, KernelError> {
        let doing = || format!("listen on {dev}");
        let family = Family::of(own).map_err(|error| failure(doing(), error))?;
        let mut kernel = Linux::open()?;
        let socket = kernel.listen(dev, family)?;
        socket
            .never_wait()
            .map_err(|error| failure(doing(), error))?;
        Ok(Self {
            dev: dev.clone(),
            kernel,
            socket: Arc::new(socket),
        })
    }

    /// The socket; it becomes readable when frames have arrived.
    pub fn socket(&self) -> &Arc<LinkSocket> {
        &self.socket
    }

    fn failure(&self, error: io::Error) -> KernelError {
        failure(format!("packet socket on {}", self.dev), error)
    }
}

impl SegmentNic for LinuxNic {
    fn now(&self) -> Duration {
        boot_time()
    }

    fn look(&mut self) -> Result<Option<NicState>, KernelError> {
        let nic = self.kernel.nic(&self.dev)?;
        Ok(nic.map(|nic| NicState {
            carrier: nic.link.up && nic.link.carrier,
            vips: nic.vips,
        }))
    }

    fn add(
        &mut self,
        vips: &BTreeSet<IpAddr>,
        lifetime: Option<Duration>,
    ) -> Vec<Result<(), OpError>> {
        self.kernel.add_held(&self.dev, vips, lifetime)
    }

    fn renew(
        &mut self,
        vips: &BTreeSet<IpAddr>,
        lifetime: Option<Duration>,
    ) -> Vec<Result<(), OpError>> {
        self.kernel.renew_lifetime(&self.dev, vips, lifetime)
    }

    fn remove(&mut self, vips: &BTreeSet<IpAddr>) -> Vec<Result<(), OpError>> {
        let op = |vip: &IpAddr| Op::DelAddress(AddressKey::new(self.dev.clone(), *vip), Role::Held);
        let ops: Vec<Op> = vips.iter().map(op).collect();
        self.kernel.apply(&ops)
    }

    fn send(&mut self, own: IpAddr, message: &Message) -> Result<usize, KernelError> {
        let sent = self.socket.send(Some(own), message);
        sent.map_err(|error| self.failure(error))
    }

    fn receive(&mut self) -> Result<Option<Received>, KernelError> {
        match self.socket.try_receive() {
            Ok(heard) => Ok(Some(heard)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            // The socket returns this once when the NIC goes down; the NIC may come up again.
            Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => Ok(None),
            Err(error) => Err(self.failure(error)),
        }
    }

    fn lost(&mut self) -> Result<u32, KernelError> {
        self.socket.lost().map_err(|error| self.failure(error))
    }
}
