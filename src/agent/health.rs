//! Health checks of real servers: passes say which ones are needed, and decide by what is known; a thread of its own makes
//! them, so that a slow answer delays nothing else.

mod application;
mod path_prober;

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{
    sync::Notify,
    task::{JoinError, JoinSet},
    time::sleep,
};

use crate::{
    desired::Desired,
    health::{Check, Checks, Failure, Path, Target},
    metrics::Metrics,
    model::ApplicationRequest,
};

use self::{
    application::{Question, TlsConfigs},
    path_prober::PathProber,
};

/// How many checks begin in one [`TICK`] at most; five times as many if they are urgent. With more checks than that allows,
/// intervals become longer.
const MOST: usize = 20;
/// The time between two looks at what is due.
const TICK: Duration = Duration::from_millis(10);
/// How many applications are asked at once at most, each with a socket, and how many of one real server, so that one that hangs
/// keeps no others from being asked.
const MOST_APPLICATIONS: usize = 512;
const MOST_OF_ONE: usize = 64;

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

    /// These checks are needed from now on. Takes them out of `desired`, because there may be very many.
    pub fn want(&self, desired: &mut Desired) {
        let mut state = self.lock();
        let wanted = std::mem::take(&mut desired.checks);
        state.checks.want(&wanted, self.start.elapsed());
        state.paths = std::mem::take(&mut desired.paths);
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
pub async fn run(shared: Arc<HealthChecks>, metrics: Arc<Metrics>, changed: impl Fn()) {
    let mut prober = PathProber::new();
    let mut applications = Applications::default();
    let mut next_look = Duration::ZERO;
    loop {
        let now = shared.start.elapsed();
        let mut made: Vec<Made> = Vec::new();
        if now >= next_look {
            next_look = now + TICK;
            let Some(due) = take(&shared, &metrics, &changed, now) else {
                return;
            };
            prober.prune(now);
            for (check, path) in due {
                let begun = match &check.target {
                    Target::Path { .. } => prober.send(&check, path, now),
                    Target::Application { .. } => applications.ask(&check),
                };
                if let Err(error) = begun {
                    tracing::debug!(%check, %error, "not made");
                    made.push((check, None));
                }
            }
        }
        count(&shared, made, &metrics, &changed);
        let due = shared.lock().checks.next();
        let wait = due.map_or(Duration::MAX, |at| at.max(next_look).saturating_sub(now));
        let mut made = Vec::new();
        tokio::select! {
            () = sleep(wait) => {}
            () = shared.wake.notified() => {
                next_look = Duration::ZERO;
                applications.tls.forget_unused();
            }
            answered = prober.answered(now) => made.push(answered),
            Some(answered) = applications.answered() => made.push(answered),
        }
        let now = shared.start.elapsed();
        made.extend(std::iter::from_fn(|| prober.try_answered(now)));
        made.extend(std::iter::from_fn(|| applications.try_answered()));
        count(&shared, made, &metrics, &changed);
    }
}

/// The checks that are due now, with the ways to their real servers; `None` at the end.
fn take(
    shared: &HealthChecks,
    metrics: &Metrics,
    changed: impl Fn(),
    now: Duration,
) -> Option<Vec<(Check, Option<Path>)>> {
    let mut state = shared.lock();
    if state.ended {
        return None;
    }
    let due = state.checks.take(now, Timestamp::now().as_second(), MOST);
    for check in &due.expired {
        metrics.health_check(kind(check), false);
    }
    if due.changed {
        changed();
    }
    let with_path = |check: Check| {
        let path = state.paths.get(&check.address).copied();
        (check, path)
    };
    Some(due.make.into_iter().map(with_path).collect())
}

/// The applications that are being asked.
#[derive(Debug, Default)]
struct Applications {
    asked: JoinSet<Made>,
    /// How many of each real server.
    of_one: BTreeMap<IpAddr, usize>,
    tls: TlsConfigs,
}

impl Applications {
    fn ask(&mut self, check: &Check) -> io::Result<()> {
        let Target::Application { port, request } = &check.target else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let of_one = self.of_one.entry(check.address).or_default();
        if self.asked.len() >= MOST_APPLICATIONS || *of_one >= MOST_OF_ONE {
            return Err(io::Error::other("too many applications are being asked"));
        }
        let question = Question::of(request, &mut self.tls)?;
        *of_one += 1;
        let (check, port) = (check.clone(), *port);
        self.asked.spawn(async move {
            let timeout = check.timers.timeout();
            let result = application::ask(check.address, port, &question, timeout).await;
            (check, result)
        });
        Ok(())
    }

    /// The next answer; `None` if none is waited for.
    async fn answered(&mut self) -> Option<Made> {
        let joined = self.asked.join_next().await?;
        self.ended(joined)
    }

    /// The next answer, if it has come already.
    fn try_answered(&mut self) -> Option<Made> {
        let joined = self.asked.try_join_next()?;
        self.ended(joined)
    }

    fn ended(&mut self, joined: Result<Made, JoinError>) -> Option<Made> {
        // A check's task neither panics nor is aborted.
        let (check, result) = joined.ok()?;
        if let Some(count) = self.of_one.get_mut(&check.address) {
            *count -= 1;
            if *count == 0 {
                self.of_one.remove(&check.address);
            }
        }
        Some((check, result))
    }
}

/// For metrics.
fn kind(check: &Check) -> &'static str {
    match &check.target {
        Target::Path { .. } => "path",
        Target::Application { request, .. } => match request {
            ApplicationRequest::Tcp => "tcp",
            ApplicationRequest::Http(_) => "http",
            ApplicationRequest::Https(_) => "https",
            ApplicationRequest::Dns(_) => "dns",
        },
    }
}

/// Counts results.
fn count(shared: &HealthChecks, made: Vec<Made>, metrics: &Metrics, changed: impl Fn()) {
    if made.is_empty() {
        return;
    }
    let mut news = false;
    let (now, epoch) = (shared.start.elapsed(), Timestamp::now().as_second());
    let mut state = shared.lock();
    for (check, result) in made {
        match result {
            Some(result) => {
                let passed = result.is_ok();
                if let Some(changed) = state.checks.count(&check, result, now, epoch) {
                    metrics.health_check(kind(&check), passed);
                    news |= changed;
                }
            }
            None => state.checks.not_made(&check, now),
        }
    }
    drop(state);
    if news {
        changed();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

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
        shared.want(&mut Desired {
            checks: [(check.clone(), true)].into(),
            ..Desired::default()
        });
        let take = |at: u64| {
            let now = Duration::from_secs(at);
            shared.lock().checks.take(now, 0, 1).make
        };
        let metrics = Metrics::default();
        let changes = Cell::new(0);
        let result = |result| {
            let changed = || changes.set(changes.get() + 1);
            count(&shared, vec![(check.clone(), result)], &metrics, changed);
            changes.get()
        };
        assert_eq!(take(10), std::slice::from_ref(&check));
        assert_eq!(result(None), 0);
        assert_eq!(shared.lock().checks.verdict(&check), Verdict::Unknown);
        assert_eq!(take(20), std::slice::from_ref(&check), "made again");
        assert_eq!(result(Some(Err(Failure::Closed))), 1);
        assert_eq!(result(Some(Ok(()))), 1, "too late");
    }
}
