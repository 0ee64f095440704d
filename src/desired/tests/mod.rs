//! Decisions by example: a small LAN, one change at a time.

mod admission;
mod bind;
mod datagrams;
mod director;
mod elected;
mod endpoints;
mod fixture;
mod health;
mod incomplete;
mod placement;
mod quiet;
mod real_servers;
mod reserved;
mod sync;
mod undo;
