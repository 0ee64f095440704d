use std::{ops::ControlFlow, sync::Arc, time::Duration};

use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    election::{ElectionConfig, Timing},
    kernel::{KernelError, SegmentNic},
    model::Dev,
};

use super::{
    ElectionStatus,
    driver::{Driver, DriverError},
};

/// How soon to try again to open what cannot be opened.
const RETRY: Duration = Duration::from_secs(1);

/// What a participant is told.
#[derive(Debug)]
pub enum Message {
    /// The sources say something else than before, or the passes have done something.
    Config(Arc<ElectionConfig>),
    /// The NIC is another one than before.
    Reopen(Arc<ElectionConfig>),
    /// The election on this NIC is over; nothing is touched.
    End,
}

/// What it takes to take part in an election.
#[derive(Debug)]
pub struct ElectionParams {
    /// The NIC.
    pub dev: Dev,
    /// Timers.
    pub timing: Arc<Timing>,
    /// How long the kernel keeps a VIP whose agent is gone, where another director could take it; `None` = for ever.
    pub lifetime: Option<Duration>,
    /// What is known now.
    pub config: Arc<ElectionConfig>,
    /// Where results go.
    pub status: Arc<ElectionStatus>,
    /// What is known later.
    pub inbox: UnboundedReceiver<Message>,
}

/// A director's part in the election of one segment, for as long as its NIC can be used and again when it can.
#[derive(Debug)]
pub struct Participant<N, O> {
    params: ElectionParams,
    open: O,
    driver: Option<Driver<N>>,
    /// When to try to open the NIC.
    retry: Duration,
}

impl<N, O> Participant<N, O>
where
    N: SegmentNic,
    O: FnMut(&ElectionParams) -> Result<N, KernelError>,
{
    /// Takes part on the NIC that `open` opens, from the first [`Self::work`] on.
    pub fn new(params: ElectionParams, open: O) -> Self {
        Self {
            params,
            open,
            driver: None,
            retry: Duration::ZERO,
        }
    }

    /// What it is told next.
    pub fn inbox(&mut self) -> &mut UnboundedReceiver<Message> {
        &mut self.params.inbox
    }

    /// The NIC, while it can be used.
    pub fn nic(&self) -> Option<&N> {
        self.driver.as_ref().map(Driver::nic)
    }

    /// When [`Self::work`] has to be called at the latest.
    pub fn due(&self) -> Option<Duration> {
        match &self.driver {
            Some(driver) => driver.due(),
            None => Some(self.retry),
        }
    }

    /// Takes a message; none means that the agent is gone. Ends with the election.
    pub fn take(&mut self, message: Option<Message>) -> ControlFlow<()> {
        match message {
            Some(Message::Config(config)) => {
                self.params.config = Arc::clone(&config);
                match &mut self.driver {
                    Some(driver) => driver.config(config),
                    None => self.retry = Duration::ZERO,
                }
            }
            Some(Message::Reopen(config)) => {
                self.params.config = config;
                self.close();
                self.retry = Duration::ZERO;
            }
            Some(Message::End) | None => {
                self.driver = None;
                self.params.status.ended(&self.params.dev);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// The kernel's links or addresses changed.
    pub fn look(&mut self, now: Duration) {
        if let Some(driver) = &mut self.driver
            && let Err(problem) = driver.look()
        {
            self.fail(&problem, now);
        }
    }

    /// Opens the NIC if that is due, takes frames that have arrived and does what is due. Returns whether those were all the
    /// frames.
    pub fn work(&mut self, now: Duration) -> bool {
        if self.driver.is_none() && self.retry <= now {
            let nic = (self.open)(&self.params).map_err(DriverError::from);
            match nic.and_then(|nic| Driver::open(nic, &self.params)) {
                Ok(driver) => self.driver = Some(driver),
                Err(problem) => self.fail(&problem, now),
            }
        }
        match self.driver.as_mut().map(Driver::work) {
            Some(Ok(all)) => return all,
            Some(Err(problem)) => self.fail(&problem, now),
            None => {}
        }
        true
    }

    fn fail(&mut self, problem: &DriverError, now: Duration) {
        self.close();
        let ElectionParams { status, dev, .. } = &self.params;
        status.problem(dev, Some(problem.to_string()));
        self.retry = now + RETRY;
    }

    fn close(&mut self) {
        if self.driver.take().is_some() {
            self.params.status.closed(&self.params.dev);
        }
    }
}
