//! The transport to the kernel: a netlink socket of this thread's network namespace.

use std::io;
use std::time::Duration;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use socket2::SockRef;

use super::Transport;

/// The longest that one receive blocks. The exchange then fails with `NetlinkError::Silent`.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Room for the refusals of a whole batch and for bursts of notifications.
const RECEIVE_BUFFER: usize = 1 << 20;

/// A netlink socket, bound to a port of its own.
#[derive(Debug)]
pub struct KernelSocket {
    protocol: isize,
    socket: Socket,
}

impl KernelSocket {
    /// Opens a socket for `protocol`.
    pub fn open(protocol: isize) -> io::Result<Self> {
        Ok(Self {
            protocol,
            socket: connect(protocol)?,
        })
    }
}

fn connect(protocol: isize) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    // Refusals shall have no copy of the request, but an explanation.
    socket.set_cap_ack(true)?;
    socket.set_ext_ack(true)?;
    if protocol == NETLINK_ROUTE {
        // The kernel filters a dump of routes by type. Before Linux 4.20 it can't, and only `parse_listed` does.
        let _ = socket.set_netlink_get_strict_chk(true);
    }
    let options = SockRef::from(&socket);
    options.set_read_timeout(Some(RECEIVE_TIMEOUT))?;
    options.set_recv_buffer_size(RECEIVE_BUFFER)?;
    Ok(socket)
}

impl Transport for KernelSocket {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        match self.socket.send_to(datagram, &SocketAddr::new(0, 0), 0)? {
            sent if sent == datagram.len() => Ok(()),
            sent => Err(io::Error::other(format!(
                "only {sent} of {} bytes were taken",
                datagram.len()
            ))),
        }
    }

    fn receive(&mut self, mut buffer: &mut [u8]) -> io::Result<(usize, u32)> {
        let (length, sender) = self.socket.recv_from(&mut buffer, libc::MSG_TRUNC)?;
        Ok((length, sender.port_number()))
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.socket = connect(self.protocol)?;
        Ok(())
    }
}
