//! Checks of the direct path: sends SYNs and takes their answers.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    io,
    net::IpAddr,
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::mpsc,
    task::{AbortHandle, yield_now},
};

use crate::{
    health::{Answer, AnswerKind, Check, Failure, Path, Probe, SOURCE_PORTS, Target},
    kernel::linux::ProbeSocket,
};

use super::Made;

/// Answers that wait to be counted at most; others are lost, as on the wire.
const WAITING: usize = 4096;
/// How often those whose time is up are looked for.
const PRUNE: Duration = Duration::from_secs(1);
/// Frames that are read one after the other.
const TOGETHER: usize = 64;

/// Probes under way, and a socket for each interface.
#[derive(Debug)]
pub struct PathProber {
    sockets: BTreeMap<u32, Socket>,
    /// By sequence number, each until its time is up.
    sent: BTreeMap<u32, (Check, Probe, Duration)>,
    heard: mpsc::Receiver<Answer>,
    hear: mpsc::Sender<Answer>,
    /// Makes sequence numbers that nobody can guess who does not see them.
    secret: RandomState,
    count: u64,
    /// When it was last looked for those whose time is up.
    pruned: Duration,
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
            pruned: Duration::ZERO,
        }
    }

    /// Sends the SYN of `check`. Without a path, the real server is not a neighbour any more.
    pub fn send(&mut self, check: &Check, path: Option<Path>, now: Duration) -> io::Result<()> {
        let Target::Path {
            vip: IpAddr::V4(vip),
            port,
        } = check.target
        else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let path = path.ok_or(io::ErrorKind::HostUnreachable)?;
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
        let until = now + check.timers.timeout();
        self.sent
            .insert(probe.sequence, (check.clone(), probe, until));
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

    /// Forgets those whose time is up.
    pub fn prune(&mut self, now: Duration) {
        if now >= self.pruned + PRUNE {
            self.pruned = now;
            self.sent.retain(|_, (_, _, until)| *until > now);
        }
    }

    /// The next check that was answered.
    pub async fn answered(&mut self, now: Duration) -> Made {
        loop {
            // This end keeps a sender, so there is always a next one.
            if let Some(answer) = self.heard.recv().await
                && let Some(made) = self.take(answer, now)
            {
                return made;
            }
        }
    }

    /// The next one, if it has come already.
    pub fn try_answered(&mut self, now: Duration) -> Option<Made> {
        loop {
            let answer = self.heard.try_recv().ok()?;
            if let Some(made) = self.take(answer, now) {
                return Some(made);
            }
        }
    }

    /// `now` may be a little early: whether the answer came in time, the check's own deadline says.
    fn take(&mut self, answer: Answer, now: Duration) -> Option<Made> {
        let sequence = answer.acknowledged.wrapping_sub(1);
        let (_, probe, until) = self.sent.get(&sequence)?;
        if !probe.is_answered_by(&answer) || *until < now {
            return None;
        }
        let (check, probe, _) = self.sent.remove(&sequence)?;
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
