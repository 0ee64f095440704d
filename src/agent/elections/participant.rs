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

/// How soon to try again to open a NIC that could not be used.
const RETRY: Duration = Duration::from_secs(1);

/// What passes send to a participant.
#[derive(Debug)]
pub enum Message {
    /// The configuration has changed.
    Config(Arc<ElectionConfig>),
    /// The NIC was replaced: its index or MAC is another.
    Reopen(Arc<ElectionConfig>),
    /// The election on this NIC is over; the NIC stays as it is.
    End,
}

/// What a participant is given.
#[derive(Debug)]
pub struct ElectionParams {
    /// The NIC.
    pub dev: Dev,
    /// Timers.
    pub timing: Arc<Timing>,
    /// How long the kernel keeps a VIP whose agent is gone, where another director could take it; `None` = for ever.
    pub lifetime: Option<Duration>,
    /// The present configuration.
    pub config: Arc<ElectionConfig>,
    /// Where results go.
    pub status: Arc<ElectionStatus>,
    /// Messages from the passes.
    pub inbox: UnboundedReceiver<Message>,
}

/// A director's part in the election of one segment. While the NIC cannot be used, it tries again to open it.
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

    /// The messages from the passes.
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

    /// Handles a message; `None` means that the agent is ending. Breaks when the election is over.
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
    pub fn changed(&mut self) {
        if let Some(driver) = &mut self.driver {
            driver.changed();
        }
    }

    /// Opens the NIC if that is due, handles frames that have arrived and does what is due. Returns whether it has read
    /// all frames.
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
