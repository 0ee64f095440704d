//! The `directway` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    directway::cli::run(std::env::args_os())
}
