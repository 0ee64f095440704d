//! A packet socket on one interface: frames as bytes.

use std::{
    io,
    num::NonZeroU32,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    time::Duration,
};

use socket2::{Domain, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

/// Room for the answers to a burst of questions.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Sends and receives Ethernet frames of one protocol on one interface. Needs CAP_NET_RAW.
///
/// It receives what the kernel's own protocols receive on that interface. The kernel gives a socket that is bound to an
/// interface more than that: a trunk's parent also gets the frames of its VLANs, those with a device of their own and
/// those without (`orig_dev` in `__netif_receive_skb_core`, net/core/dev.c). They are another segment's, so they are
/// dropped here.
#[derive(Debug)]
pub struct FrameSocket {
    socket: Socket,
    index: i32,
}

impl FrameSocket {
    /// Opens a socket on the interface with this index, for frames of this protocol that pass `filter`, if there is one.
    pub fn open(
        index: NonZeroU32,
        ethertype: u16,
        filter: Option<&[SockFilter]>,
    ) -> io::Result<Self> {
        // A socket of protocol 0 receives nothing, so no other frame gets in before it is bound.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        if let Some(filter) = filter {
            socket.attach_filter(filter)?;
        }
        let index =
            i32::try_from(index.get()).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
        socket.bind(&link_layer_address(index, ethertype))?;
        Ok(Self { socket, index })
    }

    /// Sends a frame, waiting a little where the device's queue is full.
    pub fn write(&self, frame: &[u8]) -> io::Result<()> {
        const ATTEMPTS: usize = 20;
        for _ in 0..ATTEMPTS {
            match self.socket.send(frame) {
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                other => return other.map(|_| ()),
            }
        }
        Err(io::Error::from_raw_os_error(libc::ENOBUFS))
    }

    /// From now on, [`Self::read`] does not wait: without a frame it returns `WouldBlock`.
    pub fn never_wait(&self) -> io::Result<()> {
        self.socket.set_nonblocking(true)
    }

    /// How long [`Self::read`] waits.
    pub fn wait_at_most(&self, time: Duration) -> io::Result<()> {
        // A timeout of less than a microsecond would be rounded to 0, which means no timeout.
        let time = time.max(Duration::from_micros(1));
        self.socket.set_read_timeout(Some(time))
    }

    /// Reads the beginning of one frame into `buffer`; `None` if it is not of this interface.
    #[allow(unsafe_code)]
    pub fn read<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        // SAFETY: all fields of sockaddr_ll are numbers, for which zero is valid.
        let mut source: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        let mut source_length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the descriptor is open, and the kernel writes at most as many bytes as both lengths say.
        let length = unsafe {
            libc::recvfrom(
                self.socket.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
                (&raw mut source).cast(),
                &raw mut source_length,
            )
        };
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        let frame = buffer.get(..length);
        Ok(frame.filter(|_| is_of(self.index, &source)))
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
}

impl AsFd for FrameSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for FrameSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Whether a frame arrived on the interface with this index itself, for this host or for all: `arp_rcv` (net/ipv4/arp.c)
/// drops all others, too. A frame of a VLAN names the VLAN's device; in a VLAN without a device it is for another host.
fn is_of(index: i32, source: &libc::sockaddr_ll) -> bool {
    let packet_type = source.sll_pkttype;
    let is_for_us = [
        libc::PACKET_HOST,
        libc::PACKET_BROADCAST,
        libc::PACKET_MULTICAST,
    ]
    .contains(&packet_type);
    source.sll_ifindex == index && is_for_us
}

/// `struct sockaddr_ll` for a protocol on an interface.
#[allow(unsafe_code)]
fn link_layer_address(index: i32, ethertype: u16) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is one of the platform's sockaddr types, smaller than the storage, and valid when zeroed.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = ethertype.to_be();
    address.sll_ifindex = index;
    // SAFETY: the family is AF_PACKET, the storage was filled as a sockaddr_ll, and the length is that type's.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_a_vlan_and_for_other_hosts_are_not_the_interfaces() {
        let (nic, vlan) = (2, 5);
        for (index, packet_type, expected) in [
            (nic, libc::PACKET_HOST, true),
            (nic, libc::PACKET_BROADCAST, true),
            // A VLAN with a device.
            (vlan, libc::PACKET_BROADCAST, false),
            // A VLAN without one, or a NIC in promiscuous mode.
            (nic, libc::PACKET_OTHERHOST, false),
            (nic, libc::PACKET_OUTGOING, false),
        ] {
            let source = libc::sockaddr_ll {
                sll_family: 0,
                sll_protocol: 0,
                sll_ifindex: index,
                sll_hatype: 0,
                sll_pkttype: packet_type,
                sll_halen: 0,
                sll_addr: [0; 8],
            };
            assert_eq!(is_of(nic, &source), expected, "{index} {packet_type}");
        }
    }
}
