//! What is promised of a process that stands between the system and one command, as PID 1 and elsewhere:
//! each behaviour is written once, tried on the inits that others wrote, then on `miosa-exec --init`.
#![expect(clippy::unwrap_used, reason = "a test that panics fails, as it should")]

mod endings;
mod exec_mode;
mod groups;
mod idle;
mod inheritance;
mod orphans;
mod process;
mod served;
mod shells;
mod signals;
mod stops;
mod table;
mod terminal;
mod terminals;
mod trial;
mod waiting;
