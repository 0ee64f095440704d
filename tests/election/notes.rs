//! What is recorded of a world: the log for a failure, and counts of frames.

use std::{cell::RefCell, rc::Rc, time::Duration};

use directway::election::{Actions, Event, Request};

use crate::{traffic::about, wire::Form, world::World};

/// What one agent sent at once.
#[derive(Clone, Copy, Debug)]
pub struct Count {
    pub at: Duration,
    pub liveness: usize,
    pub broadcasts: usize,
    pub unicasts: usize,
    pub announcements: usize,
    pub claims: usize,
}

impl Count {
    /// Frames to all hosts about VIPs; an announcement is several.
    pub fn broadcast_frames(&self) -> usize {
        self.broadcasts + self.announcements * Form::ALL.len()
    }
}

/// Shared by all clones of a world.
pub type Log = Rc<RefCell<Vec<String>>>;

impl World {
    /// A clone of the world that logs what happens.
    pub fn logged(&self) -> (Self, Log) {
        let log = Log::default();
        let world = Self {
            log: Some(log.clone()),
            ..self.clone()
        };
        (world, log)
    }

    pub fn count(&mut self, actions: &Actions) {
        let about_vip = |question: &&Request| self.orders.contains_key(&question.about);
        let of = |keep: &dyn Fn(&&Request) -> bool| {
            actions
                .questions
                .iter()
                .filter(|question| keep(question))
                .count()
        };
        let count = Count {
            at: self.now,
            liveness: of(&|question| !about_vip(question)),
            broadcasts: of(&|question| about_vip(question) && question.to.is_none()),
            unicasts: of(&|question| about_vip(question) && question.to.is_some()),
            announcements: actions.announcements.len(),
            claims: actions.claims.len(),
        };
        if let Some(counts) = &mut self.count {
            counts.push(count);
        }
    }

    /// Logs what an agent does; liveness is left out.
    pub fn write_down(&self, index: usize, actions: &Actions) {
        for (what, vips) in [
            ("yields", &actions.yields),
            ("claims", &actions.claims),
            ("announces", &actions.announcements),
        ] {
            if !vips.is_empty() {
                self.note(|| format!("d{index} → {what} {vips:?}"));
            }
        }
        for question in actions
            .questions
            .iter()
            .filter(|question| self.orders.contains_key(&question.about))
        {
            self.note(|| format!("d{index} → {question:?}"));
        }
        for report in &actions.notices {
            self.note(|| format!("d{index}   {report:?}"));
        }
    }

    pub fn is_telling(&self, event: &Event) -> bool {
        match event {
            Event::Tick | Event::Config(_) => false,
            Event::Received(heard) => self.orders.contains_key(&about(heard)),
            Event::Missed | Event::Carrier(_) | Event::Nic { .. } => true,
        }
    }

    pub fn note(&self, text: impl FnOnce() -> String) {
        if let Some(log) = &self.log {
            log.borrow_mut()
                .push(format!("{:>6} {}", self.now.as_millis(), text()));
        }
    }
}
