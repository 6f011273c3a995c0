//! The whole path with the real programs: what the project promises, one sentence a test.

mod access;
mod agent;
mod attacks;
mod canaries;
mod clock;
mod containers;
mod crash;
mod damage;
mod disk;
mod doors;
mod faults;
mod foreign;
mod hostile;
mod increments;
mod isolation;
mod keeping;
mod kills;
mod layers;
mod neighbours;
mod outage;
mod reload;
mod sdk;
mod secrets;
mod tenants;
mod trust;
mod vectors;
