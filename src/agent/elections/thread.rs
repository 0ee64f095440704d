//! The thread of one election on a real NIC.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{
        Interest,
        unix::{AsyncFd, AsyncFdReadyGuard},
    },
    sync::watch,
    time::sleep,
};

use crate::kernel::linux::{LinuxNic, boot_time, packet::LinkSocket};

use super::participant::{ElectionParams, Participant};

/// How long to sleep when nothing is due.
const IDLE: Duration = Duration::from_secs(60);

/// Starts the thread. `link_changes` changes whenever the kernel's links or addresses do.
pub fn begin(params: ElectionParams, link_changes: watch::Receiver<()>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let name = format!("vips-{}", params.dev);
    let thread = std::thread::Builder::new().name(name);
    // It ends on `Message::End`, or with the agent.
    thread
        .spawn(move || runtime.block_on(run(params, link_changes)))
        .map(drop)
}

async fn run(params: ElectionParams, mut link_changes: watch::Receiver<()>) {
    let mut participant = Participant::new(params, |params| {
        LinuxNic::open(&params.dev, params.config.me.0)
    });
    let mut socket: Option<AsyncFd<Arc<LinkSocket>>> = None;
    participant.work(boot_time());
    loop {
        follow(&mut socket, participant.nic());
        let due = participant.due();
        let wait = due.map_or(IDLE, |due| due.saturating_sub(boot_time()));
        let ready = tokio::select! {
            message = participant.inbox().recv() => {
                if participant.take(message).is_break() {
                    return;
                }
                None
            }
            // If the sender is gone, the agent is ending.
            Ok(()) = link_changes.changed() => {
                participant.changed();
                None
            }
            ready = readable(socket.as_ref()) => ready,
            () = sleep(wait) => None,
        };
        let all = participant.work(boot_time());
        if let Some(mut ready) = ready
            && all
        {
            ready.clear_ready();
        }
    }
}

/// Registers the socket of `nic`, so that arriving frames wake this thread.
#[allow(unsafe_code)]
fn follow(registered: &mut Option<AsyncFd<Arc<LinkSocket>>>, nic: Option<&LinuxNic>) {
    let socket = nic.map(LinuxNic::socket);
    let known = registered.as_ref().map(AsyncFd::get_ref);
    if known.map(Arc::as_ptr) == socket.map(Arc::as_ptr) {
        return;
    }
    *registered = socket.and_then(|socket| {
        // SAFETY: the Arc keeps the socket, and with it its descriptor, open until the registration is dropped.
        let registered =
            unsafe { AsyncFd::register_with_interest(Arc::clone(socket), Interest::READABLE) };
        // Without the registration, frames are read only when the thread wakes for something else.
        registered
            .inspect_err(|error| tracing::error!("frames are heard late: {error}"))
            .ok()
    });
}

/// Waits until frames have arrived.
async fn readable(
    socket: Option<&AsyncFd<Arc<LinkSocket>>>,
) -> Option<AsyncFdReadyGuard<'_, Arc<LinkSocket>>> {
    match socket {
        Some(socket) => socket.readable().await.ok(),
        None => std::future::pending().await,
    }
}
