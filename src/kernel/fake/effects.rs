//! Counts agents' effects, and causes the misfortune at the effect with its number.

use std::fmt::Display;

use crate::{kernel::KernelError, plan::Op};

use super::{
    apply::{self, gone},
    errno::Errno,
    misfortune::Misfortune,
    world::World,
};

impl World {
    /// An error if `name` has no power, or its agent was killed.
    pub fn check(&self, name: &str, doing: &dyn Display) -> Result<(), KernelError> {
        let machine = self.machines.get(name);
        let powered = machine.is_some_and(|machine| machine.powered);
        if powered && !self.killed.contains(name) {
            Ok(())
        } else {
            Err(gone(&doing.to_string()))
        }
    }

    /// Counts an effect and runs `act` for it. `Ok(None)`: the kernel refuses it.
    pub fn effect<T>(
        &mut self,
        name: &str,
        doing: &dyn Display,
        act: impl FnOnce(&mut Self) -> T,
    ) -> Result<Option<T>, KernelError> {
        self.check(name, doing)?;
        self.effects.tried += 1;
        let tried = self.effects.tried;
        match self.effects.misfortune {
            Some(Misfortune::KilledBefore(at)) if at == tried => {
                self.killed.insert(name.to_owned());
                return Err(gone(&doing.to_string()));
            }
            Some(Misfortune::Refused(at)) if at == tried => return Ok(None),
            Some(Misfortune::KilledAfter(at)) if at == tried => {
                self.killed.insert(name.to_owned());
            }
            Some(_) | None => {}
        }
        Ok(Some(act(self)))
    }

    /// Applies an op.
    pub fn apply(&mut self, name: &str, op: &Op) -> Result<(), crate::kernel::OpError> {
        let result = self.effect(name, op, |world| apply::apply(world, name, op))?;
        result.unwrap_or_else(|| Err(apply::refused(op, Errno::Invalid)))
    }
}
