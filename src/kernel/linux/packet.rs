//! A packet socket for address resolution on one interface.

use std::{
    io,
    net::IpAddr,
    num::NonZeroU32,
    os::fd::{AsRawFd, RawFd},
    time::Instant,
};

use crate::{
    model::Mac,
    wire::{AddressResolution, Family, Message, Received},
};

use super::frame_socket::FrameSocket;

/// Longer frames are cut; those of address resolution are shorter.
const BUFFER: usize = 128;

/// Sends and receives the address resolution of one family on one interface. Needs CAP_NET_RAW.
#[derive(Debug)]
pub struct LinkSocket {
    socket: FrameSocket,
    mac: Mac,
    resolution: &'static dyn AddressResolution,
}

impl LinkSocket {
    /// Opens a socket on the interface with this index and Ethernet address.
    pub fn open(index: NonZeroU32, mac: Mac, family: Family) -> io::Result<Self> {
        let resolution = family.resolution();
        Ok(Self {
            socket: FrameSocket::open(index, resolution.ethertype(), None)?,
            mac,
            resolution,
        })
    }

    /// The interface's Ethernet address.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// Sends `message` from the address `own`, waiting a little where the device's queue is full. Returns how many frames
    /// that took.
    ///
    /// # Errors
    ///
    /// Among others, `Unsupported` if the message is of another family than the socket.
    pub fn send(&self, own: Option<IpAddr>, message: &Message) -> io::Result<usize> {
        let frames = self.resolution.encode(self.mac, own, message);
        let frames = frames.ok_or(io::ErrorKind::Unsupported)?;
        for frame in &frames {
            self.socket.write(frame)?;
        }
        Ok(frames.len())
    }

    /// From now on, [`Self::try_receive`] does not wait, and [`Self::receive`] must not be used.
    pub fn never_wait(&self) -> io::Result<()> {
        self.socket.never_wait()
    }

    /// The next well-formed frame that has arrived.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is none.
    pub fn try_receive(&self) -> io::Result<Received> {
        loop {
            match self.read() {
                Ok(Some(heard)) => return Ok(heard),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads one frame; `None` if it is malformed, or not of this interface.
    fn read(&self) -> io::Result<Option<Received>> {
        let mut buffer = [0_u8; BUFFER];
        let frame = self.socket.read(&mut buffer)?;
        Ok(frame.and_then(|frame| self.resolution.decode(self.mac, frame)))
    }

    /// How many frames the kernel dropped since the last call, because the receive buffer was full.
    pub fn lost(&self) -> io::Result<u32> {
        self.socket.lost()
    }

    /// Waits for the next well-formed frame; `None` at the deadline.
    pub fn receive(&self, deadline: Instant) -> io::Result<Option<Received>> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.wait_at_most(left)?;
            match self.read() {
                Ok(Some(heard)) => return Ok(Some(heard)),
                Ok(None) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsRawFd for LinkSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
