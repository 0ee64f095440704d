//! A small blocking netlink transport: requests, dumps and batches of changes, with every refusal mapped to its message.
//!
//! One message at a time with an acknowledgement each costs two system calls per change; that is 36 times slower than
//! batches when there are many. A batch asks for an acknowledgement only on its last message. The kernel works through the
//! messages of a datagram in order and answers a *failed* one in any case (`netlink_rcv_skb`, net/netlink/af_netlink.c), so
//! the sequence numbers of the `NLMSG_ERROR`s show which messages failed, and the answer to the last one ends a batch.

pub mod message;
mod socket;
#[cfg(test)]
mod tests;

use std::io;
use std::time::{Duration, Instant};

use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NLMSG_NOOP, NLMSG_OVERRUN, NetlinkDeserializable, NetlinkSerializable,
};

pub use self::message::{Ack, RawMessage, RawMessages};
pub use self::socket::KernelSocket;

/// How many messages go into one datagram.
pub const BATCH: usize = 64;
/// How often a dump is tried while the kernel marks it as inconsistent.
const DUMP_ATTEMPTS: usize = 8;
/// After this time, an exchange receives no more messages, so that nothing here can hang. The kernel answers while it
/// takes the request, so the limit is reached only if something is wrong.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why an exchange with the kernel failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The kernel understood the message and refused it.
    #[error("{}", refusal(*errno, message.as_deref()))]
    Refused {
        /// A positive errno.
        errno: i32,
        /// The kernel's own explanation, where it gives one.
        message: Option<String>,
    },
    /// The socket failed.
    #[error("netlink socket: cannot {doing}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// No answer within the time limit; whether the message had an effect is not known.
    #[error("the kernel did not answer in time")]
    Silent,
    /// The table changed during every one of several attempts to read it.
    #[error("the kernel's table kept changing while it was read ({DUMP_ATTEMPTS} attempts)")]
    Unstable,
    /// An answer that is no netlink, or lacks what it must have.
    #[error("malformed answer from the kernel: {0}")]
    Malformed(#[from] DecodeError),
}

impl NetlinkError {
    /// The errno behind the failure, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Io { source, .. } => source.raw_os_error(),
            Self::Silent | Self::Unstable | Self::Malformed(_) => None,
        }
    }
}

fn refusal(errno: i32, message: Option<&str>) -> String {
    let system = io::Error::from_raw_os_error(errno);
    match message {
        Some(message) => format!("{message}: {system}"),
        None => system.to_string(),
    }
}

/// Datagrams to and from the kernel. A trait so that the transport's logic is tested without a kernel.
pub trait Transport {
    /// Sends one datagram to the kernel.
    fn send(&mut self, datagram: &[u8]) -> io::Result<()>;
    /// Waits for one datagram. Returns its full length, even if it exceeds `buffer`, and the sender's port (0 = kernel).
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, u32)>;
    /// Starts afresh: answers that are still under way are lost.
    fn reopen(&mut self) -> io::Result<()>;
}

/// How many messages have been sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Requests for information, a whole dump being one.
    pub queries: u64,
    /// Messages that change something.
    pub changes: u64,
}

/// A conversation with one netlink protocol of the kernel.
#[derive(Debug)]
pub struct Channel<W = KernelSocket> {
    transport: W,
    sequence: u32,
    sent: Sent,
    buffer: Vec<u8>,
    /// The last exchange ended early. The next one reopens the socket, to get no late answers and no running dump.
    stale: bool,
}

/// One change, with the `NLM_F_*` flags that belong to it (`NLM_F_CREATE` …; request and acknowledgement are added here).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRequest<M> {
    /// `NLM_F_*` flags of this message.
    pub flags: u16,
    /// The message.
    pub message: M,
}

impl Channel {
    /// Opens a channel to `protocol`, e.g. `NETLINK_ROUTE`.
    pub fn open(protocol: isize) -> Result<Self, NetlinkError> {
        let transport = KernelSocket::open(protocol).map_err(|source| NetlinkError::Io {
            doing: "open it",
            source,
        })?;
        Ok(Self::over(transport))
    }
}

impl<W: Transport> Channel<W> {
    /// A channel over any transport.
    pub fn over(transport: W) -> Self {
        // The kernel fills at most 32 KiB of a dump per datagram (netlink_recvmsg), one message may be as large again.
        Self {
            transport,
            sequence: 0,
            sent: Sent::default(),
            buffer: vec![0; 65536],
            stale: false,
        }
    }

    /// What has been sent so far.
    pub fn sent(&self) -> Sent {
        self.sent
    }

    /// Asks one question; returns everything that came before the acknowledgement.
    pub fn ask<Q, A>(&mut self, question: &Q) -> Result<Vec<A>, NetlinkError>
    where
        Q: NetlinkSerializable,
        A: NetlinkDeserializable,
    {
        self.sent.queries += 1;
        let sequence = self.advance(1);
        let mut datagram = Vec::new();
        message::append(&mut datagram, question, NLM_F_REQUEST | NLM_F_ACK, sequence);
        self.transmit(&datagram)?;
        let mut answers = Answers::default();
        self.exchange(|message| answers.take(message, sequence))?;
        answers.finish().map(|(answers, _)| answers)
    }

    /// Reads a whole table. Begins again, a bounded number of times, if the kernel reports that it changed meanwhile.
    ///
    /// Where a table's dump does not carry that mark (IPVS), a change by others during the dump can hide or repeat an entry.
    pub fn dump<Q, A>(&mut self, question: &Q) -> Result<Vec<A>, NetlinkError>
    where
        Q: NetlinkSerializable,
        A: NetlinkDeserializable,
    {
        for _ in 0..DUMP_ATTEMPTS {
            self.sent.queries += 1;
            let sequence = self.advance(1);
            let mut datagram = Vec::new();
            message::append(
                &mut datagram,
                question,
                NLM_F_REQUEST | NLM_F_DUMP,
                sequence,
            );
            self.transmit(&datagram)?;
            let mut answers = Answers::default();
            self.exchange(|message| answers.take(message, sequence))?;
            match answers.finish() {
                Ok((_, true))
                | Err(NetlinkError::Refused {
                    errno: libc::EINTR, ..
                }) => continue,
                other => return other.map(|(answers, _)| answers),
            }
        }
        Err(NetlinkError::Unstable)
    }

    /// Makes changes in order, in as few datagrams as possible. Returns one result per change; a refused change does not
    /// stop those after it.
    pub fn change<M: NetlinkSerializable>(
        &mut self,
        changes: &[ChangeRequest<M>],
    ) -> Vec<Result<(), NetlinkError>> {
        changes
            .chunks(BATCH)
            .flat_map(|chunk| self.change_at_once(chunk))
            .collect()
    }

    fn change_at_once<M: NetlinkSerializable>(
        &mut self,
        changes: &[ChangeRequest<M>],
    ) -> Vec<Result<(), NetlinkError>> {
        let count = u32::try_from(changes.len()).unwrap_or(u32::MAX);
        let first = self.advance(count);
        let mut datagram = Vec::new();
        for (index, (sequence, change)) in (first..).zip(changes).enumerate() {
            let ack = if index + 1 == changes.len() {
                NLM_F_ACK
            } else {
                0
            };
            message::append(
                &mut datagram,
                &change.message,
                NLM_F_REQUEST | ack | change.flags,
                sequence,
            );
        }
        if let Err(error) = self.transmit(&datagram) {
            return changes.iter().map(|_| Err(again(&error))).collect();
        }
        self.sent.changes += u64::from(count);
        let mut refused: Vec<Option<NetlinkError>> = changes.iter().map(|_| None).collect();
        let outcome = self.exchange(|message| {
            let index = message.header.sequence_number.wrapping_sub(first);
            if index >= count || message.header.message_type != NLMSG_ERROR {
                return false;
            }
            refused[index as usize] = match Ack::parse_error(message) {
                Ok(Ack { errno: 0, .. }) => None,
                Ok(Ack { errno, message }) => Some(NetlinkError::Refused { errno, message }),
                Err(error) => Some(error.into()),
            };
            index + 1 == count
        });
        let unknown = outcome.err();
        refused
            .into_iter()
            .map(|refused| match (refused, &unknown) {
                (Some(error), _) => Err(error),
                (None, Some(error)) => Err(again(error)),
                (None, None) => Ok(()),
            })
            .collect()
    }

    /// Reserves `count` sequence numbers, never 0 (which the kernel uses for notifications) and never across the wrap.
    fn advance(&mut self, count: u32) -> u32 {
        let first = match self.sequence.checked_add(count) {
            Some(_) => self.sequence + 1,
            None => 1,
        };
        self.sequence = first + (count - 1);
        first
    }

    fn transmit(&mut self, datagram: &[u8]) -> Result<(), NetlinkError> {
        if self.stale {
            self.transport.reopen().map_err(|source| NetlinkError::Io {
                doing: "reopen it",
                source,
            })?;
            self.stale = false;
        }
        self.transport
            .send(datagram)
            .map_err(|source| NetlinkError::Io {
                doing: "send",
                source,
            })
    }

    /// Gives every message from the kernel to `take` until that returns true: the exchange is over.
    fn exchange(
        &mut self,
        mut take: impl FnMut(&RawMessage<'_>) -> bool,
    ) -> Result<(), NetlinkError> {
        let deadline = Instant::now() + TIMEOUT;
        // Cleared only when `take` has got its last message.
        self.stale = true;
        loop {
            if Instant::now() >= deadline {
                return Err(NetlinkError::Silent);
            }
            let (length, sender) = match self.transport.receive(&mut self.buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(NetlinkError::Silent);
                }
                Err(source) => {
                    return Err(NetlinkError::Io {
                        doing: "receive",
                        source,
                    });
                }
            };
            // Any process may send to our port; only the kernel has port 0.
            if sender != 0 {
                continue;
            }
            let Some(datagram) = self.buffer.get(..length) else {
                let message = format!(
                    "a datagram of {length} bytes, more than {}",
                    self.buffer.len()
                );
                return Err(NetlinkError::Malformed(message.into()));
            };
            for message in RawMessages::new(datagram) {
                if take(&message?) {
                    self.stale = false;
                    return Ok(());
                }
            }
        }
    }
}

/// Collects the answers to one question.
struct Answers<A> {
    answers: Vec<A>,
    inconsistent: bool,
    failure: Option<NetlinkError>,
}

impl<A> Default for Answers<A> {
    fn default() -> Self {
        Self {
            answers: Vec::new(),
            inconsistent: false,
            failure: None,
        }
    }
}

impl<A: NetlinkDeserializable> Answers<A> {
    /// Takes one message; true when it was the last. After a malformed one the following are still read, so that
    /// the dump is not left running.
    fn take(&mut self, message: &RawMessage<'_>, sequence: u32) -> bool {
        if message.header.sequence_number != sequence {
            return false;
        }
        self.inconsistent |= message.header.flags & NLM_F_DUMP_INTR != 0;
        let ack = match message.header.message_type {
            NLMSG_ERROR => Ack::parse_error(message),
            NLMSG_DONE => Ack::parse_done(message),
            NLMSG_NOOP | NLMSG_OVERRUN => return false,
            _ => {
                match A::deserialize(&message.header, message.payload) {
                    Ok(answer) => self.answers.push(answer),
                    Err(error) => self.fail(NetlinkError::Malformed(error.to_string().into())),
                }
                return false;
            }
        };
        match ack {
            Ok(Ack { errno: 0, .. }) => {}
            Ok(Ack { errno, message }) => self.fail(NetlinkError::Refused { errno, message }),
            Err(error) => self.fail(error.into()),
        }
        true
    }

    fn fail(&mut self, error: NetlinkError) {
        self.failure.get_or_insert(error);
    }

    /// The answers, and whether the kernel called them inconsistent.
    fn finish(self) -> Result<(Vec<A>, bool), NetlinkError> {
        match self.failure {
            Some(error) => Err(error),
            None => Ok((self.answers, self.inconsistent)),
        }
    }
}

/// The same failure once more, for each of several messages that share it.
fn again(error: &NetlinkError) -> NetlinkError {
    match error {
        NetlinkError::Refused { errno, message } => NetlinkError::Refused {
            errno: *errno,
            message: message.clone(),
        },
        NetlinkError::Io { doing, source } => {
            let source = match source.raw_os_error() {
                Some(errno) => io::Error::from_raw_os_error(errno),
                None => io::Error::new(source.kind(), source.to_string()),
            };
            NetlinkError::Io { doing, source }
        }
        NetlinkError::Silent => NetlinkError::Silent,
        NetlinkError::Unstable => NetlinkError::Unstable,
        NetlinkError::Malformed(error) => NetlinkError::Malformed(error.to_string().into()),
    }
}
