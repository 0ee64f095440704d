use std::{ops::ControlFlow, sync::Arc, time::Duration};

use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    election::{Timing, View},
    kernel::{KernelError, SegmentNic},
    model::Dev,
};

use super::{
    Board,
    driver::{Driver, Trouble},
};

/// How soon to try again to open what cannot be opened.
const RETRY: Duration = Duration::from_secs(1);

/// What a participant is told.
#[derive(Debug)]
pub enum Message {
    /// The sources say something else than before, or the passes have done something.
    View(Arc<View>),
    /// The NIC is another one than before.
    Reopen(Arc<View>),
    /// The election on this NIC is over; nothing is touched.
    End,
}

/// What it takes to take part in an election.
#[derive(Debug)]
pub struct Seat {
    /// The NIC.
    pub dev: Dev,
    /// Timers.
    pub timing: Arc<Timing>,
    /// How long the kernel keeps a VIP whose agent is gone, where another director could take it; `None` = for ever.
    pub lifetime: Option<Duration>,
    /// What is known now.
    pub view: Arc<View>,
    /// Where results go.
    pub board: Arc<Board>,
    /// What is known later.
    pub inbox: UnboundedReceiver<Message>,
}

/// A director's part in the election of one segment, for as long as its NIC can be used and again when it can.
#[derive(Debug)]
pub struct Participant<N, O> {
    seat: Seat,
    open: O,
    driver: Option<Driver<N>>,
    /// When to try to open the NIC.
    retry: Duration,
}

impl<N, O> Participant<N, O>
where
    N: SegmentNic,
    O: FnMut(&Seat) -> Result<N, KernelError>,
{
    /// Takes part on the NIC that `open` opens, from the first [`Self::work`] on.
    pub fn new(seat: Seat, open: O) -> Self {
        Self {
            seat,
            open,
            driver: None,
            retry: Duration::ZERO,
        }
    }

    /// What it is told next.
    pub fn inbox(&mut self) -> &mut UnboundedReceiver<Message> {
        &mut self.seat.inbox
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
            Some(Message::View(view)) => {
                self.seat.view = Arc::clone(&view);
                match &mut self.driver {
                    Some(driver) => driver.view(view),
                    None => self.retry = Duration::ZERO,
                }
            }
            Some(Message::Reopen(view)) => {
                self.seat.view = view;
                self.close();
                self.retry = Duration::ZERO;
            }
            Some(Message::End) | None => {
                self.driver = None;
                self.seat.board.ended(&self.seat.dev);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// The kernel's links or addresses changed.
    pub fn look(&mut self, now: Duration) {
        if let Some(driver) = &mut self.driver
            && let Err(trouble) = driver.look()
        {
            self.fail(&trouble, now);
        }
    }

    /// Opens the NIC if that is due, takes frames that have arrived and does what is due. Returns whether those were all the
    /// frames.
    pub fn work(&mut self, now: Duration) -> bool {
        if self.driver.is_none() && self.retry <= now {
            let nic = (self.open)(&self.seat).map_err(Trouble::from);
            match nic.and_then(|nic| Driver::open(nic, &self.seat)) {
                Ok(driver) => self.driver = Some(driver),
                Err(trouble) => self.fail(&trouble, now),
            }
        }
        match self.driver.as_mut().map(Driver::work) {
            Some(Ok(all)) => return all,
            Some(Err(trouble)) => self.fail(&trouble, now),
            None => {}
        }
        true
    }

    fn fail(&mut self, trouble: &Trouble, now: Duration) {
        self.close();
        let Seat { board, dev, .. } = &self.seat;
        board.trouble(dev, Some(trouble.to_string()));
        self.retry = now + RETRY;
    }

    fn close(&mut self) {
        if self.driver.take().is_some() {
            self.seat.board.closed(&self.seat.dev);
        }
    }
}
