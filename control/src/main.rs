//! The program `miosa-control`, and nothing of it: that is the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    miosa_control::main()
}
