//! Health checks of real servers: passes say which ones are needed, and decide by what is known; a thread of its own makes
//! them, so that a slow answer delays nothing else.

mod application;
mod path_prober;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{sync::Notify, task::JoinSet, time::sleep};

use crate::{
    desired::Desired,
    health::{Check, Checks, Failure, Path, Target},
    metrics::Metrics,
    model::ApplicationRequest,
};

use self::path_prober::PathProber;

/// How many checks begin in one [`TICK`] at most; five times as many if they are urgent. With more checks than that allows,
/// intervals become longer.
const MOST: usize = 20;
/// The time between two looks at what is due.
const TICK: Duration = Duration::from_millis(10);
/// How many applications are asked at once at most, each with a socket.
const MOST_APPLICATIONS: usize = 512;

/// The checks, shared by the passes and the thread that makes them.
#[derive(Debug)]
pub struct HealthChecks {
    state: Mutex<State>,
    /// Something may be due.
    wake: Notify,
    start: Instant,
}

/// What is known, and how real servers are reached.
#[derive(Debug)]
pub(super) struct State {
    pub checks: Checks,
    paths: BTreeMap<IpAddr, Path>,
    /// The agent is ending.
    ended: bool,
}

impl HealthChecks {
    /// No checks yet; `seed` differs between nodes.
    pub fn new(seed: u64) -> Self {
        Self {
            state: Mutex::new(State {
                checks: Checks::new(seed),
                paths: BTreeMap::new(),
                ended: false,
            }),
            wake: Notify::new(),
            start: Instant::now(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These checks are needed from now on.
    pub(super) fn want(&self, desired: &Desired) {
        let mut state = self.lock();
        state.checks.want(&desired.checks, self.start.elapsed());
        state.paths.clone_from(&desired.paths);
        drop(state);
        self.wake.notify_one();
    }

    /// Ends the thread.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.wake.notify_one();
    }
}

/// A check, and what came of it; `None` if it could not be made.
type Made = (Check, Option<Result<(), Failure>>);

/// Makes checks until [`HealthChecks::end`]. `changed` is called when a verdict changed.
pub(super) async fn run(shared: Arc<HealthChecks>, metrics: Arc<Metrics>, changed: impl Fn()) {
    let mut prober = PathProber::new();
    let mut asked: JoinSet<Made> = JoinSet::new();
    loop {
        let now = shared.start.elapsed();
        let room = MOST.min(MOST_APPLICATIONS.saturating_sub(asked.len()));
        let (due, paths, next) = {
            let mut state = shared.lock();
            if state.ended {
                return;
            }
            let due = state.checks.take(now, epoch(), room);
            let paths = due.make.iter().map(|check| state.paths.get(&check.address));
            let paths: Vec<Option<Path>> = paths.map(Option::<&Path>::copied).collect();
            (due, paths, state.checks.next())
        };
        prober.forget(&due.expired);
        for check in &due.expired {
            metrics.health_check(kind(check), false);
        }
        if due.changed {
            changed();
        }
        let mut results: Vec<Made> = Vec::new();
        for (check, path) in due.make.into_iter().zip(paths) {
            match &check.target {
                Target::Path { vip, port } => {
                    let sent = prober.send(&check, path, *vip, *port);
                    if let Err(error) = sent {
                        tracing::debug!(%check, %error, "not made");
                        results.push((check, None));
                    }
                }
                Target::Application { port, request } => {
                    let (address, port, request) = (check.address, *port, request.clone());
                    asked.spawn(async move {
                        let timeout = check.timers.timeout();
                        let result = application::ask(address, port, &request, timeout).await;
                        (check, result)
                    });
                }
            }
        }
        let wait = next.map_or(Duration::MAX, |at| at.saturating_sub(now).max(TICK));
        tokio::select! {
            () = sleep(wait) => {}
            () = shared.wake.notified() => {}
            made = prober.answered() => results.push(made),
            Some(Ok(made)) = asked.join_next(), if !asked.is_empty() => results.push(made),
        }
        while let Some(made) = prober.try_answered() {
            results.push(made);
        }
        while let Some(joined) = asked.try_join_next() {
            results.extend(joined);
        }
        for (check, result) in &results {
            if let Some(result) = result {
                metrics.health_check(kind(check), result.is_ok());
            }
        }
        if count(&shared, results) {
            changed();
        }
    }
}

/// For metrics.
fn kind(check: &Check) -> &'static str {
    match &check.target {
        Target::Path { .. } => "path",
        Target::Application { request, .. } => match request {
            ApplicationRequest::Tcp => "tcp",
            ApplicationRequest::Http(_) => "http",
        },
    }
}

/// Counts results; returns whether a verdict changed.
fn count(shared: &HealthChecks, results: Vec<Made>) -> bool {
    let mut changed = false;
    let (now, epoch) = (shared.start.elapsed(), epoch());
    let mut state = shared.lock();
    for (check, result) in results {
        match result {
            Some(result) => {
                changed |= state.checks.count(&check, result, now, epoch);
            }
            None => state.checks.not_made(&check, now),
        }
    }
    changed
}

/// Seconds since the epoch, now.
fn epoch() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = since.unwrap_or_default().as_secs();
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{health::Verdict, model::CheckTimers};

    #[test]
    fn a_check_that_could_not_be_made_says_nothing_of_the_real_server() {
        let check = Check {
            address: [10, 0, 0, 1].into(),
            target: Target::Application {
                port: 80,
                request: ApplicationRequest::Tcp,
            },
            timers: CheckTimers {
                fall: 1,
                ..CheckTimers::DEFAULT
            },
        };
        let shared = HealthChecks::new(1);
        let desired = Desired {
            checks: [(check.clone(), true)].into(),
            ..Desired::default()
        };
        shared.want(&desired);
        let take = |at: u64| {
            let now = Duration::from_secs(at);
            shared.lock().checks.take(now, 0, 1).make
        };
        assert_eq!(take(10), std::slice::from_ref(&check));
        assert!(!count(&shared, vec![(check.clone(), None)]));
        assert_eq!(shared.lock().checks.verdict(&check), Verdict::Unknown);
        assert_eq!(take(20), std::slice::from_ref(&check), "made again");
        let failed = Some(Err(Failure::Closed));
        assert!(count(&shared, vec![(check, failed)]));
    }
}
