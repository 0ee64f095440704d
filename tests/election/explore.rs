//! Explores every course of events: at given times any of some faults, and for frames any of some fates.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use crate::{
    faults::Fault,
    say::say,
    wire::{Fate, ms},
    world::{Stop, Stops, World},
};

/// What may happen, and how often.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// When one of `faults` may happen.
    pub times: Vec<Duration>,
    /// The faults to choose from.
    pub faults: Vec<Fault>,
    /// The most faults in one run.
    pub max_faults: usize,
    /// The fates to choose from until the last of `times`: for frames about VIPs, with `liveness_too` for all frames.
    pub fates: Vec<Fate>,
    pub liveness_too: bool,
    /// The most fates in one run.
    pub max_fates: usize,
    /// How long after the last fault every VIP must be held by its best director.
    pub settle: Duration,
}

/// What an exploration counted and measured.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Points at which something could happen.
    pub choices: u64,
    /// Different states at these points.
    pub states: u64,
    /// How often a run reached a known state, and ended there.
    pub merged: u64,
    /// Runs that were followed to their end.
    pub runs: u64,
    pub worst_gap: Duration,
    pub worst_double: Duration,
    pub worst_planned: Duration,
}

/// Which choices were made: the number of the choice point, and what happened there.
type Path = Vec<(u64, usize)>;

struct Explorer<'a> {
    plan: &'a Plan,
    seen: HashSet<u64>,
    counts: Counts,
    path: Path,
    /// The choices to repeat, for a failure's log.
    script: Option<Path>,
}

/// How many faults and fates this run may still choose, and where in the plan it is.
#[derive(Clone, Copy, Hash)]
struct Left {
    point: u64,
    time: usize,
    faults: usize,
    fates: usize,
}

/// Explores all runs from `world`; panics with the log of the first run that breaks a rule.
pub fn explore(name: &str, world: &World, plan: &Plan) -> Counts {
    let began = std::time::Instant::now();
    let mut explorer = Explorer {
        plan,
        seen: HashSet::new(),
        counts: Counts::default(),
        path: Path::new(),
        script: None,
    };
    let left = Left {
        point: 0,
        time: 0,
        faults: plan.max_faults,
        fates: plan.max_fates,
    };
    if let Err(failure) = explorer.walk(world.clone(), left) {
        let script = explorer.path.clone();
        let log = explorer.replay(world, left, script);
        panic!(
            "{name}: {failure}\nafter {} runs; what happened:\n{log}",
            explorer.counts.runs
        );
    }
    let counts = explorer.counts;
    say(&format!(
        "{name}: {} choice points, {} states, {} merged, {} runs to their end in {:.1} s; worst: nobody {:?}, two {:?}, planned move {:?}",
        counts.choices,
        counts.states,
        counts.merged,
        counts.runs,
        began.elapsed().as_secs_f32(),
        counts.worst_gap,
        counts.worst_double,
        counts.worst_planned,
    ));
    counts
}

impl Explorer<'_> {
    fn walk(&mut self, mut world: World, mut left: Left) -> Result<(), String> {
        loop {
            let end = self.plan.times.get(left.time).copied();
            let Some(end) = end else {
                return self.finish(world);
            };
            let stops = match (left.fates > 0, self.plan.liveness_too) {
                (false, _) => Stops::Never,
                (true, false) => Stops::AtVips,
                (true, true) => Stops::AtFrames,
            };
            let stop = world.go(end, stops);
            healthy(&world)?;
            let options = match stop {
                Stop::Frame => self.plan.fates.len(),
                Stop::Time => {
                    left.time += 1;
                    if left.faults > 0 {
                        self.plan.faults.len()
                    } else {
                        0
                    }
                }
            };
            if options > 0 {
                left.point += 1;
                if self.script.is_none() && !self.is_new(&world, left) {
                    return Ok(());
                }
            }
            let mut spoiled = false;
            for option in 0..options {
                let made = (left.point, option);
                if self
                    .script
                    .as_ref()
                    .is_some_and(|script| !script.contains(&made))
                {
                    continue;
                }
                let mut fork = world.clone();
                let mut then = left;
                match stop {
                    Stop::Frame => {
                        then.fates -= 1;
                        fork.spoil(self.plan.fates[option]);
                    }
                    Stop::Time => {
                        then.faults -= 1;
                        fork.apply(self.plan.faults[option]);
                    }
                }
                if self.script.is_some() {
                    world = fork;
                    left = then;
                    spoiled = true;
                    break;
                }
                self.path.push(made);
                self.walk(fork, then)?;
                self.path.pop();
            }
            if stop == Stop::Frame && !spoiled {
                world.step();
            }
        }
    }

    fn is_new(&mut self, world: &World, left: Left) -> bool {
        self.counts.choices += 1;
        let mut hasher = DefaultHasher::new();
        (world, left.time, left.faults, left.fates).hash(&mut hasher);
        let is_new = self.seen.insert(hasher.finish());
        if is_new {
            self.counts.states += 1;
        } else {
            self.counts.merged += 1;
        }
        is_new
    }

    /// No fault is left to choose: every VIP must be held by its best director within `settle`, and stay there.
    fn finish(&mut self, mut world: World) -> Result<(), String> {
        let mut deadline = world.now + self.plan.settle;
        let mut quiet = 0;
        while quiet < 4 {
            let next = world.now + ms(100);
            world.run(next);
            healthy(&world)?;
            if world.has_faults_ahead() {
                deadline = world.now + self.plan.settle;
            }
            match world.verdict() {
                Ok(()) if !world.has_faults_ahead() => quiet += 1,
                Ok(()) => quiet = 0,
                Err(_) if world.now < deadline => quiet = 0,
                Err(wrong) => return Err(wrong),
            }
        }
        let seen = &world.judge.seen;
        let counts = &mut self.counts;
        counts.runs += 1;
        counts.worst_gap = counts.worst_gap.max(seen.worst_gap);
        counts.worst_double = counts.worst_double.max(seen.worst_double);
        counts.worst_planned = counts.worst_planned.max(seen.worst_planned);
        Ok(())
    }

    fn replay(&mut self, world: &World, left: Left, script: Path) -> String {
        self.script = Some(script);
        let (world, log) = world.logged();
        let _ = self.walk(world, left);
        log.borrow().join("\n")
    }
}

fn healthy(world: &World) -> Result<(), String> {
    match &world.judge.violation {
        Some(violation) => Err(violation.clone()),
        None => Ok(()),
    }
}
