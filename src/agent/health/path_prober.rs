//! Checks of the direct path: sends SYNs and takes their answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
    io,
    net::IpAddr,
    num::NonZeroU32,
    sync::Arc,
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::mpsc,
    task::{AbortHandle, yield_now},
};

use crate::{
    health::{Answer, AnswerKind, Check, Failure, Path, Probe, SOURCE_PORTS},
    kernel::linux::ProbeSocket,
};

use super::Made;

/// Answers that wait to be counted at most; others are lost, as on the wire.
const WAITING: usize = 4096;
/// Frames that are read one after the other.
const TOGETHER: usize = 64;

/// Probes under way, and a socket for each interface.
#[derive(Debug)]
pub struct PathProber {
    sockets: BTreeMap<u32, Socket>,
    /// By sequence number.
    sent: BTreeMap<u32, (Check, Probe)>,
    heard: mpsc::Receiver<Answer>,
    hear: mpsc::Sender<Answer>,
    /// Makes sequence numbers that nobody can guess who does not see them.
    secret: RandomState,
    count: u64,
}

/// A socket, and the task that reads from it.
#[derive(Debug)]
struct Socket {
    socket: Arc<AsyncFd<ProbeSocket>>,
    reader: AbortHandle,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl PathProber {
    pub fn new() -> Self {
        let (hear, heard) = mpsc::channel(WAITING);
        Self {
            sockets: BTreeMap::new(),
            sent: BTreeMap::new(),
            heard,
            hear,
            secret: RandomState::new(),
            count: 0,
        }
    }

    /// Sends the SYN of `check`. Without a path, the real server is not a neighbour any more.
    pub fn send(
        &mut self,
        check: &Check,
        path: Option<Path>,
        vip: IpAddr,
        port: u16,
    ) -> io::Result<()> {
        let (Some(path), IpAddr::V4(vip)) = (path, vip) else {
            return Err(io::ErrorKind::HostUnreachable.into());
        };
        self.count += 1;
        let bits = self.secret.hash_one(self.count).to_be_bytes();
        let [a, b, c, d, ..] = bits;
        let ports = u64::from(SOURCE_PORTS.end() - SOURCE_PORTS.start()) + 1;
        // Another port each time: a host that has lost the RST answers no new SYN from the same port.
        let offset = u16::try_from(self.count % ports).unwrap_or_default();
        let probe = Probe {
            path,
            source_port: SOURCE_PORTS.start() + offset,
            vip,
            port,
            sequence: u32::from_be_bytes([a, b, c, d]),
        };
        let sent = self.socket(path.index)?.get_ref().send(&probe.syn());
        if let Err(error) = sent {
            // The interface may be another one with the same index, or have come up again.
            self.sockets.remove(&path.index);
            return Err(error);
        }
        self.sent.insert(probe.sequence, (check.clone(), probe));
        Ok(())
    }

    fn socket(&mut self, index: u32) -> io::Result<Arc<AsyncFd<ProbeSocket>>> {
        if let Some(known) = self.sockets.get(&index) {
            return Ok(Arc::clone(&known.socket));
        }
        let number = NonZeroU32::new(index).ok_or(io::ErrorKind::NotFound)?;
        let socket = ProbeSocket::open(number, &SOURCE_PORTS)?;
        let socket = Arc::new(watch(socket)?);
        let read = read(Arc::clone(&socket), self.hear.clone());
        let reader = tokio::spawn(read).abort_handle();
        let kept = Socket {
            socket: Arc::clone(&socket),
            reader,
        };
        self.sockets.insert(index, kept);
        Ok(socket)
    }

    /// These are not waited for any more.
    pub fn forget(&mut self, checks: &[Check]) {
        if !checks.is_empty() {
            let checks: BTreeSet<&Check> = checks.iter().collect();
            self.sent.retain(|_, (check, _)| !checks.contains(check));
        }
    }

    /// The next check that was answered.
    pub async fn answered(&mut self) -> Made {
        loop {
            // This end keeps a sender, so there is always a next one.
            if let Some(answer) = self.heard.recv().await
                && let Some(made) = self.take(answer)
            {
                return made;
            }
        }
    }

    /// The next one, if it has come already.
    pub fn try_answered(&mut self) -> Option<Made> {
        loop {
            let answer = self.heard.try_recv().ok()?;
            if let Some(made) = self.take(answer) {
                return Some(made);
            }
        }
    }

    fn take(&mut self, answer: Answer) -> Option<Made> {
        let sequence = answer.acknowledged.wrapping_sub(1);
        let (_, probe) = self.sent.get(&sequence)?;
        if !probe.is_answered_by(&answer) {
            return None;
        }
        let (check, probe) = self.sent.remove(&sequence)?;
        let result = match answer.kind {
            AnswerKind::Open => {
                if let Some(it) = self.sockets.get(&probe.path.index) {
                    // Without it the real server repeats its answer for a while: no harm.
                    let _ = it.socket.get_ref().send(&probe.reset());
                }
                Ok(())
            }
            AnswerKind::Closed => Err(Failure::Closed),
        };
        Some((check, Some(result)))
    }
}

#[allow(unsafe_code)]
fn watch(socket: ProbeSocket) -> io::Result<AsyncFd<ProbeSocket>> {
    // SAFETY: a ProbeSocket always returns the same descriptor, which it owns, so that it is open for as long as this lives.
    unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }.map_err(io::Error::from)
}

/// Reads answers until the interface is gone.
async fn read(socket: Arc<AsyncFd<ProbeSocket>>, hear: mpsc::Sender<Answer>) {
    loop {
        let Ok(mut ready) = socket.readable().await else {
            return;
        };
        for _ in 0..TOGETHER {
            match socket.get_ref().try_receive() {
                Ok(frame) => {
                    if let Some(answer) = Answer::read(&frame) {
                        let _ = hear.try_send(answer);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready.clear_ready();
                    break;
                }
                // ENETDOWN comes once; the socket goes on when the interface is up again (packet_notifier,
                // net/packet/af_packet.c).
                Err(_) => break,
            }
        }
        // Others have their turn, too, in a flood.
        yield_now().await;
    }
}
