//! A packet socket for address resolution on one interface.

use std::{
    io::{self, Read},
    net::IpAddr,
    num::NonZeroU32,
    os::fd::{AsRawFd, RawFd},
    time::{Duration, Instant},
};

use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};

use crate::{
    model::Mac,
    wire::{AddressResolution, Family, Message, Received},
};

/// Room for the answers to a burst of questions.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Longer frames are cut; those of address resolution are shorter.
const BUFFER: usize = 128;

/// Sends and receives the address resolution of one family on one interface. Needs CAP_NET_RAW.
///
/// Bound to that protocol, it receives what the kernel's own address resolution receives: frames of a VLAN or of a
/// bridge's port on the VLAN's or bridge's device (`__netif_receive_skb_core`, net/core/dev.c), and none of this host.
#[derive(Debug)]
pub struct LinkSocket {
    socket: Socket,
    mac: Mac,
    resolution: &'static dyn AddressResolution,
}

impl LinkSocket {
    /// Opens a socket on the interface with this index and Ethernet address.
    pub fn open(index: NonZeroU32, mac: Mac, family: Family) -> io::Result<Self> {
        let resolution = family.resolution();
        // A socket of protocol 0 receives nothing, so no frame of another interface gets in before it is bound.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        socket.bind(&link_layer_address(index, resolution.ethertype())?)?;
        Ok(Self {
            socket,
            mac,
            resolution,
        })
    }

    /// The interface's Ethernet address.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// Sends `message` from the address `own`, waiting a little where the device's queue is full.
    ///
    /// # Errors
    ///
    /// Among others, `Unsupported` if the message is of another family than the socket.
    pub fn send(&self, own: Option<IpAddr>, message: &Message) -> io::Result<()> {
        const ATTEMPTS: usize = 20;
        let frame = self.resolution.encode(self.mac, own, message);
        let frame = frame.ok_or(io::ErrorKind::Unsupported)?;
        for _ in 0..ATTEMPTS {
            match self.socket.send(&frame) {
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                other => return other.map(|_| ()),
            }
        }
        Err(io::Error::from_raw_os_error(libc::ENOBUFS))
    }

    /// From now on, [`Self::try_receive`] does not wait, and [`Self::receive`] must not be used.
    pub fn never_wait(&self) -> io::Result<()> {
        self.socket.set_nonblocking(true)
    }

    /// The next well-formed frame that has arrived.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is none.
    pub fn try_receive(&self) -> io::Result<Received> {
        let mut buffer = [0; BUFFER];
        loop {
            match (&self.socket).read(&mut buffer) {
                Ok(length) => {
                    if let Some(heard) = self.decode(&buffer, length) {
                        return Ok(heard);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn decode(&self, buffer: &[u8], length: usize) -> Option<Received> {
        self.resolution.decode(self.mac, buffer.get(..length)?)
    }

    /// How many frames the kernel dropped since the last call, because the receive buffer was full.
    #[allow(unsafe_code)]
    pub fn lost(&self) -> io::Result<u32> {
        let mut stats = libc::tpacket_stats {
            tp_packets: 0,
            tp_drops: 0,
        };
        let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: the descriptor is open, and the kernel writes at most `length` bytes (packet_getsockopt,
        // net/packet/af_packet.c).
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut stats).cast(),
                &raw mut length,
            )
        };
        if result == 0 {
            Ok(stats.tp_drops)
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Waits for the next well-formed frame; `None` at the deadline.
    pub fn receive(&self, deadline: Instant) -> io::Result<Option<Received>> {
        let mut buffer = [0; BUFFER];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            // A timeout of less than a microsecond would be rounded to 0, which means no timeout.
            self.socket
                .set_read_timeout(Some(left.max(Duration::from_micros(1))))?;
            let length = match (&self.socket).read(&mut buffer) {
                Ok(length) => length,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
            if let Some(heard) = self.decode(&buffer, length) {
                return Ok(Some(heard));
            }
        }
    }
}

impl AsRawFd for LinkSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// `struct sockaddr_ll` for a protocol on an interface.
#[allow(unsafe_code)]
fn link_layer_address(index: NonZeroU32, ethertype: u16) -> io::Result<SockAddr> {
    let index =
        i32::try_from(index.get()).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is one of the platform's sockaddr types, smaller than the storage, and valid when zeroed.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = ethertype.to_be();
    address.sll_ifindex = index;
    // SAFETY: the family is AF_PACKET, the storage was filled as a sockaddr_ll, and the length is that type's.
    Ok(unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) })
}
