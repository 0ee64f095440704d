use directway::{
    model::{Destination, Scheduler},
    plan::Op,
};

use crate::world::{VIP, World, add_destination, http, ip, service};

pub fn one_more_real_server_is_one_message(world: &mut World) {
    world.must([Op::AddService(http(VIP), service(Scheduler::Rr).into())]);
    let Some(before) = world.kernel.changes_sent() else {
        return;
    };
    world.must([add_destination(http(VIP), "10.77.0.12", 1)]);
    world.must([Op::EditDestination(
        http(VIP),
        ip("10.77.0.12"),
        Destination::direct(2),
    )]);
    assert_eq!(world.kernel.changes_sent(), Some(before + 2));
}

pub fn looking_changes_nothing(world: &mut World) {
    let Some(before) = world.kernel.changes_sent() else {
        return;
    };
    let first = world.observe();
    assert_eq!(world.observe(), first);
    assert_eq!(world.kernel.changes_sent(), Some(before));
}
