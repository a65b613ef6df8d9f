//! Stands in for the skiff binary in tests: it can only be a supervisor or an unpacker.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(word) if word == "pod-supervisor" => skiff_runtime::supervisor_main(arguments),
        Some(word) if word == "unpack-layer" => skiff_runtime::unpacker_main(arguments),
        _ => ExitCode::from(2),
    }
}
