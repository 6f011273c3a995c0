//! What only a virtual machine shows: the shim as the first process of a kernel, with vsock to a daemon on
//! this host.

mod changes;
mod end;
mod nobody;
mod start;
