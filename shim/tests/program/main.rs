//! The real program against a daemon of a few lines: what the command sees, how failures look, and
//! what is left behind (nothing). `MIOSA_BIN_DIR`, as `make test` sets it, makes these tests use the
//! file that is shipped; without it they use the one that cargo has just built.

mod agent;
mod answers;
mod daemon;
mod delivery;
mod exits;
mod hygiene;
mod pid1;
mod printing;
mod shim;
mod shipped;
mod waiting;
mod watching;
