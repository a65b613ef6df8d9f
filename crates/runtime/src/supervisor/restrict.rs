//! The last restrictions of a process that becomes a program of a container: system call filter, then capabilities.

use crate::oci;
use crate::spec::ContainerSpec;
use libcontainer::capabilities::{drop_privileges, reset_effective};
use serde_json::json;
use std::error::Error;

/// Takes them on. The user must have been changed already, with capabilities kept: without "no new privileges" the
/// kernel lets only an administrator install a filter.
pub(super) fn restrict(spec: &ContainerSpec, bounding: u64) -> Result<(), Box<dyn Error>> {
    let capabilities = oci::capabilities(spec, bounding);
    let syscall = libcontainer::syscall::syscall::create_syscall();
    reset_effective(&*syscall)?;
    if let Some(filter) = oci::seccomp_filter(spec, &capabilities) {
        crate::seccomp::install(&filter)
            .map_err(|error| format!("install the system call filter: {error}"))?;
    }
    let sets = json!({"bounding": capabilities, "effective": capabilities, "permitted": capabilities,
        "inheritable": [], "ambient": []});
    drop_privileges(&serde_json::from_value(sets)?, &*syscall)?;
    Ok(())
}
