//! When passes run: at once after a change, at a limited rate during many changes, periodically without any, and
//! sooner after a failure.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// Why a pass runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// The sources have something new.
    pub source: bool,
    /// This agent has found out something: the kernel's links, addresses or routes changed, or elections, health checks or
    /// neighbours have news.
    pub kernel: bool,
    /// It is time: periodic, after a failure, or because the last pass asked for it.
    pub time: bool,
}

/// Requests a pass; any number of requests before it starts lead to one pass.
#[derive(Clone, Debug, Default)]
pub struct Trigger(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    cause: Mutex<Cause>,
    notify: Notify,
}

impl Trigger {
    /// The sources have something new.
    pub fn source(&self) {
        self.set(|cause| cause.source = true);
    }

    /// This agent has found out something: see [`Cause::kernel`].
    pub fn kernel(&self) {
        self.set(|cause| cause.kernel = true);
    }

    fn set(&self, mark: impl FnOnce(&mut Cause)) {
        mark(&mut self.0.cause.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.notify.notify_one();
    }

    pub(super) fn take(&self) -> Cause {
        std::mem::take(&mut *self.0.cause.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_idle(&self) -> bool {
        *self.0.cause.lock().unwrap_or_else(PoisonError::into_inner) == Cause::default()
    }

    /// Returns once a pass was requested. Cancelling it loses nothing: the cause stays until it is taken.
    async fn asked(&self) {
        self.0.notify.notified().await;
    }
}

/// Passes that follow each other take one in so many parts of the time at most: with thousands of VIPs a pass takes a
/// second, and the elections need the processor as well.
const SHARE: u32 = 2;

/// How often passes run.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// Between the starts of two passes, once the burst is used up.
    pub min: Duration,
    /// How many passes may follow each other at once.
    pub burst: u32,
    /// A pass runs at least this often: IPVS sends no notifications, so drift is found by looking.
    pub max: Duration,
    /// After the first failure; doubles with each further one, up to `max`.
    pub retry: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self {
            min: Duration::from_millis(50),
            burst: 3,
            max: Duration::from_secs(30),
            retry: Duration::from_millis(500),
        }
    }
}

/// When a pass wants the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextPass {
    /// The next pass must run after this time at the latest.
    pub deadline: Option<Duration>,
    /// The pass failed, at least in part, and should be tried again.
    pub failed: bool,
}

impl NextPass {
    /// A pass that failed and knows of no deadline.
    pub const RETRY: Self = Self {
        deadline: None,
        failed: true,
    };

    /// A pass that succeeded, with something due then.
    pub fn within(deadline: Duration) -> Self {
        Self {
            deadline: Some(deadline),
            failed: false,
        }
    }
}

/// Runs passes one after the other, for ever. Dropping the future between two passes stops it. A pass that returns
/// `None` had nothing to do and leaves the time of the next periodic pass as it was.
pub async fn run<P, F>(intervals: Intervals, trigger: Trigger, mut pass: P)
where
    P: FnMut(Cause) -> F,
    F: Future<Output = Option<NextPass>>,
{
    let mut bucket = Bucket::full(&intervals);
    let mut failures = 0u32;
    let mut due = Instant::now();
    loop {
        let mut cause = Cause::default();
        tokio::select! {
            // Constant requests must not hide that a pass is due.
            biased;
            () = sleep_until(due) => cause.time = true,
            () = trigger.asked() => {}
        }
        if !cause.time && trigger.is_idle() {
            // An earlier pass has handled this request already.
            continue;
        }
        bucket.take().await;
        // This pass handles all requests up to here.
        let asked = trigger.take();
        cause.source = asked.source;
        cause.kernel = asked.kernel;
        let began = Instant::now();
        let Some(next) = pass(cause).await else {
            continue;
        };
        bucket.min = intervals.min.max(began.elapsed() * SHARE);
        let mut wait = intervals.max;
        let mut deadline = next.deadline;
        if next.failed {
            let doubled = 1u32.checked_shl(failures).unwrap_or(u32::MAX);
            wait = wait.min(intervals.retry.saturating_mul(doubled));
            failures = failures.saturating_add(1);
            // The failed pass should have done what is overdue: the retry does it.
            deadline = deadline.filter(|it| !it.is_zero());
        } else {
            failures = 0;
        }
        due = Instant::now() + deadline.map_or(wait, |it| it.min(wait));
    }
}

/// Token bucket: one token per `min`, at most `burst` of them.
struct Bucket {
    min: Duration,
    burst: u32,
    tokens: u32,
    refilled: Instant,
}

impl Bucket {
    fn full(intervals: &Intervals) -> Self {
        Self {
            min: intervals.min,
            burst: intervals.burst.max(1),
            tokens: intervals.burst.max(1),
            refilled: Instant::now(),
        }
    }

    async fn take(&mut self) {
        self.refill();
        if self.tokens == 0 {
            sleep_until(self.refilled + self.min).await;
            self.refill();
        }
        self.tokens = self.tokens.saturating_sub(1);
    }

    fn refill(&mut self) {
        let now = Instant::now();
        while self.tokens < self.burst && self.refilled + self.min <= now {
            self.tokens += 1;
            self.refilled += self.min;
        }
        if self.tokens == self.burst {
            self.refilled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::*;

    const INTERVALS: Intervals = Intervals {
        min: Duration::from_millis(50),
        burst: 2,
        max: Duration::from_secs(30),
        retry: Duration::from_secs(1),
    };

    /// Runs for `total` of paused time and returns when passes started, in milliseconds, and why.
    async fn passes(
        trigger: Trigger,
        total: Duration,
        answer: impl Fn(usize) -> NextPass,
    ) -> Vec<(u128, Cause)> {
        let log = Rc::new(RefCell::new(Vec::new()));
        let start = Instant::now();
        let pass = |cause| {
            log.borrow_mut().push((start.elapsed().as_millis(), cause));
            std::future::ready(Some(answer(log.borrow().len())))
        };
        let ended = tokio::time::timeout(total, run(INTERVALS, trigger, pass)).await;
        assert!(ended.is_err(), "the runner ended by itself");
        log.take()
    }

    fn times(log: &[(u128, Cause)]) -> Vec<u128> {
        log.iter().map(|(at, _)| *at).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn without_any_change_it_looks_at_the_kernel_from_time_to_time() {
        let log = passes(Trigger::default(), Duration::from_secs(70), |_| {
            NextPass::default()
        })
        .await;
        assert_eq!(times(&log), [0, 30_000, 60_000]);
        assert!(log.iter().all(|(_, cause)| cause.time && !cause.source));
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_of_changes_is_a_pass_per_minimum_interval() {
        let trigger = Trigger::default();
        let storm = {
            let trigger = trigger.clone();
            async move {
                loop {
                    trigger.source();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        };
        let log = tokio::select! {
            log = passes(trigger, Duration::from_millis(1010), |_| NextPass::default()) => log,
            () = storm => unreachable!(),
        };
        assert!((21..=23).contains(&log.len()), "{:?}", times(&log));
        assert!(log[1..].iter().all(|(_, cause)| cause.source));
    }

    #[tokio::test(start_paused = true)]
    async fn long_passes_leave_half_of_the_time_to_others() {
        let trigger = Trigger::default();
        let (again, count) = (trigger.clone(), Rc::new(RefCell::new(0)));
        let counted = Rc::clone(&count);
        let pass = move |_| {
            *counted.borrow_mut() += 1;
            again.kernel();
            async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Some(NextPass::default())
            }
        };
        let total = Duration::from_secs(60);
        let ended = tokio::time::timeout(total, run(INTERVALS, trigger, pass)).await;
        assert!(ended.is_err(), "the runner ended by itself");
        let count = *count.borrow();
        assert!((30..=33).contains(&count), "{count} passes in {total:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_change_is_acted_on_at_once() {
        let trigger = Trigger::default();
        let change = {
            let trigger = trigger.clone();
            async move {
                tokio::time::sleep(Duration::from_secs(7)).await;
                trigger.kernel();
                std::future::pending::<()>().await;
            }
        };
        let log = tokio::select! {
            log = passes(trigger, Duration::from_secs(10), |_| NextPass::default()) => log,
            () = change => unreachable!(),
        };
        assert_eq!(times(&log), [0, 7000]);
        assert_eq!(
            log[1].1,
            Cause {
                kernel: true,
                ..Cause::default()
            }
        );
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_tried_again_less_and_less_often_until_one_succeeds() {
        let answer = |count| {
            if count <= 4 {
                NextPass::RETRY
            } else {
                NextPass::default()
            }
        };
        let log = passes(Trigger::default(), Duration::from_secs(40), answer).await;
        assert_eq!(times(&log), [0, 1000, 3000, 7000, 15_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trigger_without_news_postpones_nothing() {
        let trigger = Trigger::default();
        let noise = {
            let trigger = trigger.clone();
            async move {
                loop {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    trigger.source();
                }
            }
        };
        let due = Rc::new(RefCell::new(Vec::new()));
        let start = Instant::now();
        let pass = |cause: Cause| {
            std::future::ready(if cause.time {
                due.borrow_mut().push(start.elapsed().as_millis());
                Some(NextPass::within(Duration::from_secs(1)))
            } else {
                None
            })
        };
        tokio::select! {
            () = run(INTERVALS, trigger, pass) => unreachable!(),
            () = noise => unreachable!(),
            () = tokio::time::sleep(Duration::from_millis(3500)) => {}
        }
        assert_eq!(due.take(), [0, 1000, 2000, 3000]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_is_not_forgotten() {
        let answer = |count| {
            if count == 1 {
                NextPass::within(Duration::from_millis(500))
            } else {
                NextPass::default()
            }
        };
        let log = passes(Trigger::default(), Duration::from_secs(2), answer).await;
        assert_eq!(times(&log), [0, 500]);
    }

    /// Three failures in a row: the third is tried again after 4 s, if nothing is due before.
    #[tokio::test(start_paused = true)]
    async fn a_failure_keeps_back_no_deadline() {
        let failing = |deadline: u64| {
            move |count| NextPass {
                deadline: (count == 3).then(|| Duration::from_secs(deadline)),
                failed: count <= 3,
            }
        };
        for (deadline, then) in [(1, 4000), (9, 7000)] {
            let log = passes(
                Trigger::default(),
                Duration::from_secs(20),
                failing(deadline),
            );
            assert_eq!(times(&log.await), [0, 1000, 3000, then], "{deadline} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_overdue_after_a_failure_waits_for_the_retry() {
        let overdue = |_| NextPass {
            deadline: Some(Duration::ZERO),
            failed: true,
        };
        let log = passes(Trigger::default(), Duration::from_secs(4), overdue).await;
        assert_eq!(times(&log), [0, 1000, 3000]);
    }
}
