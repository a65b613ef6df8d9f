//! The kernel's security modules, as far as pods can ask for them.

use std::path::Path;

/// Which of them are on. Found out once: the kernel turns none on or off later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SecurityModules {
    pub(crate) apparmor: bool,
    pub(crate) selinux: bool,
}

impl SecurityModules {
    /// Looks where container runtimes look.
    pub(crate) fn inspect() -> Self {
        let apparmor = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
        Self {
            apparmor: Path::new("/sys/kernel/security/apparmor").exists()
                && apparmor.is_ok_and(|enabled| enabled.starts_with('Y')),
            selinux: Path::new("/sys/fs/selinux/enforce").exists(),
        }
    }
}
