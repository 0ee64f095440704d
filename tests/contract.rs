//! What every implementation of the kernel trait must do, in one suite for the real kernel and for stand-ins.
//!
//! On the real kernel, as root, in a node of the lab: `DIRECTWAY_CONTRACT=linux contract --ignored --test-threads=1`.
//! Each test makes network namespaces of its own there.

// The suite is tests throughout; clippy.toml's exceptions reach only functions marked as such.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "contract/addresses.rs"]
mod addresses;
#[path = "contract/arp.rs"]
mod arp;
#[path = "contract/daemons.rs"]
mod daemons;
#[path = "contract/destinations.rs"]
mod destinations;
#[path = "contract/devices.rs"]
mod devices;
#[path = "contract/linux.rs"]
mod linux;
#[path = "contract/rights.rs"]
mod rights;
#[path = "contract/routes.rs"]
mod routes;
#[path = "contract/services.rs"]
mod services;
#[path = "contract/settings.rs"]
mod settings;
#[path = "contract/simulator.rs"]
mod simulator;
#[path = "contract/tables.rs"]
mod tables;
#[path = "contract/traffic.rs"]
mod traffic;
#[path = "contract/wire.rs"]
mod wire;
#[path = "contract/world.rs"]
mod world;

/// One test per line, for each ground.
macro_rules! contract {
    ($($theme:ident: $($name:ident)*;)*) => {
        mod on_simulator {
            $($(
                #[test]
                fn $name() {
                    crate::$theme::$name(&mut crate::simulator::world());
                }
            )*)*
        }
        mod on_linux {
            $($(
                #[test]
                #[ignore = "needs a kernel whose network may be changed: a node of the lab"]
                fn $name() {
                    crate::$theme::$name(&mut crate::linux::world());
                }
            )*)*
        }
    };
}

contract! {
    addresses:
        a_quiet_and_a_held_address_are_added_and_seen
        an_address_is_added_once
        an_address_that_is_not_there_cannot_be_deleted
        a_device_that_is_not_there_is_named
        a_refused_op_does_not_stop_the_others
        addresses_of_others_are_told_apart;
    arp:
        arp_settings_are_set_and_given_back
        arp_settings_of_a_missing_device_are_refused
        arp_settings_agree_with_sysctl;
    devices:
        a_dummy_device_is_created_up_and_deleted
        a_dummy_device_is_created_once
        only_dummy_devices_are_deleted
        interfaces_are_described
        bridges_and_their_ports_are_told_apart;
    routes:
        a_host_route_is_added_and_deleted
        a_host_route_is_added_once
        routes_of_others_are_seen_and_left_alone
        next_hops_of_every_table_are_seen;
    services:
        every_scheduler_and_flag_round_trips
        persistence_round_trips
        a_service_is_added_once
        an_unknown_scheduler_is_named
        a_missing_service_cannot_be_changed
        a_service_is_read_by_its_key
        a_changed_service_keeps_its_destinations
        services_agree_with_ipvsadm;
    destinations:
        destinations_are_added_weighed_and_deleted
        a_destination_is_added_once
        a_missing_destination_cannot_be_changed
        a_destination_needs_its_service
        a_group_address_is_no_real_server
        a_real_server_out_of_reach_is_accepted
        this_node_may_be_a_real_server
        a_destination_without_weight_reports_its_connections
        many_ops_each_get_their_own_result
        destinations_agree_with_ipvsadm;
    settings:
        settings_of_ipvs_are_set_and_given_back;
    daemons:
        daemons_are_started_seen_and_stopped
        there_is_one_daemon_of_each
        a_daemon_needs_its_device;
    wire:
        a_free_vip_is_met_with_silence
        whoever_has_the_vip_is_found
        this_node_does_not_answer_itself
        many_vips_are_probed_at_once
        neighbours_are_resolved
        an_announcement_corrects_a_neighbours_table
        a_device_without_arp_cannot_be_asked
        an_election_adds_and_removes_vips_and_sees_them
        an_election_hears_who_answers_its_questions
        frames_of_a_vlan_are_not_the_nics;
    traffic:
        one_more_real_server_is_one_message
        looking_changes_nothing;
}
