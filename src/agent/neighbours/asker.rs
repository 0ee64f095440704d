//! Two threads send queries to neighbours: a pass, those that it waits for, and one of its own, all others. They share the
//! turns.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    time::Instant,
};

use crate::{election::Rate, kernel::Kernel};

use super::{
    NeighbourAnswers, NeighbourQueries,
    query_queue::{QueryQueue, Turn},
};

/// The queue, and the clock that it goes by.
#[derive(Debug)]
struct Queries {
    queue: Mutex<QueryQueue>,
    start: Instant,
}

impl Queries {
    fn lock(&self) -> MutexGuard<'_, QueryQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Turn {
        self.lock().take(self.start.elapsed())
    }
}

/// The passes' end.
#[derive(Debug)]
pub struct Asker {
    queries: Arc<Queries>,
    wake: Sender<()>,
}

/// The end of the thread that sends what passes do not wait for.
#[derive(Debug)]
pub struct AskerThread {
    queries: Arc<Queries>,
    woken: Receiver<()>,
}

/// The two ends. Queries are sent at no more than `rate`, each with up to three frames.
pub fn asker(rate: Rate) -> (Asker, AskerThread) {
    let queries = Arc::new(Queries {
        queue: Mutex::new(QueryQueue::new(rate)),
        start: Instant::now(),
    });
    let (wake, woken) = mpsc::channel();
    let thread = AskerThread {
        queries: Arc::clone(&queries),
        woken,
    };
    (Asker { queries, wake }, thread)
}

impl Asker {
    /// Hands over queries that repeat known answers (`due`), and those `new` ones whose turn has not come. Returns the
    /// others, which the caller sends.
    pub(in crate::agent) fn hand_over(
        &self,
        new: NeighbourQueries,
        due: NeighbourQueries,
    ) -> NeighbourQueries {
        let mut queue = self.queries.lock();
        queue.add(due);
        queue.add_first(new);
        let now = queue.take_first(self.queries.start.elapsed());
        if !queue.is_empty() {
            // If the thread has ended, this agent is ending, too.
            let _ = self.wake.send(());
        }
        now
    }
}

impl AskerThread {
    /// Sends the queries that passes hand over, and gives each answer to `hear`, until the passes end or it returns false.
    pub fn run(self, kernel: &mut dyn Kernel, mut hear: impl FnMut(NeighbourAnswers) -> bool) {
        loop {
            let goes_on = match self.queries.take() {
                Turn::Send(queries) => {
                    let (told, result) = queries.ask(kernel);
                    if let Err(error) = result {
                        tracing::warn!(%error, "the wire was not asked about everything");
                    }
                    hear(told)
                }
                Turn::Wait(at) => {
                    let wait = at.saturating_sub(self.queries.start.elapsed());
                    let woken = self.woken.recv_timeout(wait);
                    woken != Err(RecvTimeoutError::Disconnected)
                }
                Turn::Idle => self.woken.recv().is_ok(),
            };
            if !goes_on {
                return;
            }
        }
    }
}
