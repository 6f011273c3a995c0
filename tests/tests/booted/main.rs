//! What only a booted machine shows: the packages, the units and the descriptor store, with systemd as
//! PID 1.

mod install;
mod unbroken;
