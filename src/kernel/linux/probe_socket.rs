//! A packet socket for TCP probes on one interface.

use std::{
    io,
    num::NonZeroU32,
    ops::RangeInclusive,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
};

use socket2::SockFilter;

use super::frame_socket::FrameSocket;

const ETHERTYPE_IPV4: u16 = 0x0800;
const PROTOCOL_TCP: u32 = 6;
/// Headers of Ethernet, IPv4 and TCP at their longest.
const BUFFER: usize = 14 + 60 + 60;

/// Sends frames of any kind, and receives the answers to SYNs: a SYN-ACK or an RST for one of `ports`. A filter in the kernel
/// drops all others, because a director receives the requests of all its clients.
#[derive(Debug)]
pub struct ProbeSocket(FrameSocket);

impl ProbeSocket {
    /// Opens a socket on the interface with this index.
    pub fn open(index: NonZeroU32, ports: &RangeInclusive<u16>) -> io::Result<Self> {
        let filter = filter(ports);
        let socket = FrameSocket::open(index, ETHERTYPE_IPV4, Some(&filter))?;
        socket.never_wait()?;
        Ok(Self(socket))
    }

    /// Sends a whole frame.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.0.write(frame)
    }

    /// The headers of the next frame that has arrived.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is none.
    pub fn try_receive(&self) -> io::Result<Vec<u8>> {
        let mut buffer = [0_u8; BUFFER];
        loop {
            match self.0.read(&mut buffer) {
                Ok(Some(frame)) => return Ok(frame.to_vec()),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for ProbeSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for ProbeSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// A program for the kernel's classic packet filter (Documentation/networking/filter.rst).
fn filter(ports: &RangeInclusive<u16>) -> [SockFilter; 14] {
    const BYTE: u32 = libc::BPF_LD | libc::BPF_B;
    const HALF: u32 = libc::BPF_LD | libc::BPF_H;
    let load = |what: u32, at: u32| instruction(what, 0, 0, at);
    let jump = |test: u32, value: u32, yes: u8, no: u8| {
        instruction(libc::BPF_JMP | test | libc::BPF_K, yes, no, value)
    };
    [
        load(BYTE | libc::BPF_ABS, 23),
        jump(libc::BPF_JEQ, PROTOCOL_TCP, 0, 11),
        // Fragments but the first have no ports.
        load(HALF | libc::BPF_ABS, 20),
        jump(libc::BPF_JSET, 0x1fff, 9, 0),
        // X = the length of the IPv4 header.
        load(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 14),
        load(HALF | libc::BPF_IND, 14 + 2),
        jump(libc::BPF_JGE, u32::from(*ports.start()), 0, 6),
        jump(libc::BPF_JGT, u32::from(*ports.end()), 5, 0),
        load(BYTE | libc::BPF_IND, 14 + 13),
        // An RST, or SYN and ACK without it.
        jump(libc::BPF_JSET, 0x04, 2, 0),
        instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, 0x12),
        jump(libc::BPF_JEQ, 0x12, 0, 1),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, BUFFER as u32),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ]
}

fn instruction(code: u32, yes: u8, no: u8, k: u32) -> SockFilter {
    // All codes have 16 bits (include/uapi/linux/bpf_common.h).
    SockFilter::new(code as u16, yes, no, k)
}
